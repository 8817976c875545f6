# The agent for hosts without a usable Python: POSIX sh, builtins where it matters, nothing written to disk.
#
# It forwards raw text; probes/hosts/frames.py computes. Every line starts with a letter and a space:
#   B uptime      a sample begins        c/m/l/n/d ...  stat, meminfo, loadavg, net/dev, diskstats
#   a ...         stat of own processes  E              the sample ends
#   H key value   hello facts            h token uptime a heartbeat was read
#   g ...         nvidia-smi --query-gpu lines          G status  it exited
#   M/D ...       mounts, df lines       P/U/W ...      processes, their owners, passwd
#   A/L/T ...     nvidia-smi apps, -L, table            K ...     kernel log      S/C ...  systemd, docker
#   Q token ...   answers to requests
# Several lines of a source travel in one, with ";" (what we compose) or a unit separator (what programs print) between
# them. Lines stay under 4,000 bytes, so that several writers do not mix inside one.
#
# Life: requests are read by the reader; the ticker, jobs and nvidia-smi are its children. Each names its process to the
# undertaker through a pipe (fd 4). When the reader is gone, however it ended, the mourner reads the end of a pipe that
# only the reader held (fd 5) and tells the undertaker, who kills the named processes, blocked and hanging ones too. A
# sleeper, renewed by each heartbeat, kills the reader after QD_WATCHDOG seconds of silence.
set -f
LC_ALL=C
export LC_ALL
unset CDPATH ENV
QD_SEP=$(printf '\037')
QD_A='index,uuid,name,driver_version,utilization.gpu,memory.total,memory.used,memory.free,memory.reserved,temperature.gpu,power.draw,enforced.power.limit,clocks.sm,clocks.mem,fan.speed,pstate,clocks_event_reasons.active,ecc.errors.corrected.volatile.total,ecc.errors.uncorrected.volatile.total,pcie.link.gen.current,pcie.link.width.current,mig.mode.current'
QD_B='index,uuid,name,driver_version,utilization.gpu,memory.total,memory.used,memory.free,temperature.gpu,power.draw,enforced.power.limit,clocks.sm,clocks.mem,fan.speed,pstate,clocks_throttle_reasons.active,ecc.errors.corrected.volatile.total,ecc.errors.uncorrected.volatile.total,pcie.link.gen.current,pcie.link.width.current'
QD_C='index,uuid,name,driver_version,utilization.gpu,memory.total,memory.used,memory.free,temperature.gpu,power.draw'

# put LETTER TEXT: collect text for lines of that letter; flush writes what is left
put() {
  if [ ${#buf} -gt 0 ] && [ $((${#buf} + ${#2})) -gt 3500 ]; then
    printf '%s %s\n' "$1" "$buf"
    buf=
  fi
  buf="$buf${buf:+;}$2"
}
flush() {
  [ -n "$buf" ] && printf '%s %s\n' "$1" "$buf"
  buf=
}

# born PID: when it started, in ticks; tells a process from a later one with the same number
born() {
  qd_born=
  read -r qd_stat <"/proc/$1/stat" || return
  qd_stat=${qd_stat##*) }
  set -- $qd_stat
  qd_born=${20}
} 2>/dev/null

# me KIND: tell the undertaker this very process (also inside a subshell); t gets a TERM, k a KILL
me() {
  read -r qd_pid qd_rest </proc/self/stat
  born "$qd_pid"
  echo "$1 $qd_pid $qd_born" >&4
}

# nap SECONDS: a sleep that ends when this process is told to
nap() {
  sleep "$1" 4>&- 2>/dev/null &
  qd_nap=$!
  wait "$qd_nap"
}
nappish() {
  qd_nap=
  trap '[ -n "$qd_nap" ] && kill "$qd_nap" 2>/dev/null; exit 0' TERM
}

# tag LETTER: forward stdin under that letter, as many lines in one as fit, between unit separators
tag() {
  me k
  buf=
  while IFS= read -r line; do
    if [ ${#buf} -gt 0 ] && [ $((${#buf} + ${#line})) -gt 3500 ]; then
      printf '%s %s\n' "$1" "$buf"
      buf=
    fi
    [ ${#line} -gt 3500 ] || buf="$buf${buf:+$QD_SEP}$line"
  done
  flush "$1"
}

# --- the ticker -----------------------------------------------------------------------------------------------------

sample() {
  read -r up rest </proc/uptime
  echo "B $up"
  buf=
  while IFS= read -r line; do
    case $line in
    cpu*) put c "$line" ;;
    *) break ;;
    esac
  done </proc/stat
  flush c
  while IFS= read -r line; do
    case $line in
    MemTotal:* | MemAvailable:* | SwapTotal:*) put m "$line" ;;
    SwapFree:*)
      put m "$line"
      break
      ;;
    esac
  done </proc/meminfo
  flush m
  if read -r line </proc/loadavg; then echo "l $line"; fi
  while IFS= read -r line; do put n "$line"; done </proc/net/dev
  flush n
  if [ -r /proc/diskstats ]; then
    while IFS= read -r line; do
      case $line in
      *" loop"* | *" ram"*) ;;
      *) put d "$line" ;;
      esac
    done </proc/diskstats
    flush d
  fi
  own
  echo E
}

# the processes of this agent: this one, and the shell, the reader and the nvidia-smi loop with their children
own() {
  read -r line </proc/self/stat && put a "$line"
  for pid in $$ $QD_READER $QD_SMI; do
    read -r line <"/proc/$pid/stat" && put a "$line"
    kids=
    [ -r "/proc/$pid/task/$pid/children" ] && read -r kids <"/proc/$pid/task/$pid/children"
    for kid in $kids; do
      read -r line <"/proc/$kid/stat" && put a "$line"
    done
  done
  flush a
} 2>/dev/null

# job NAME FUNCTION [ARGUMENT]: run in the background, never two of one name (a hung one is left alone, not multiplied);
# false when the last one still runs
job() {
  eval "old=\${job_$1:-}"
  if [ -n "$old" ] && kill -0 "$old" 2>/dev/null; then return 1; fi
  (
    me k
    "$2" "${3:-}"
  ) </dev/null 2>/dev/null &
  eval "job_$1=\$!"
}

# child COMMAND...: run it so that the undertaker knows it
child() {
  (
    me k
    exec "$@" 4>&-
  )
}

# which mounts are worth a row, by the rest of a line of mountinfo
is_local() {
  case $1 in
  *" - ext"[234]" "* | *" - xfs "* | *" - btrfs "* | *" - zfs "* | *" - f2fs "* | *" - jfs "* | *" - fuseblk "*) return 0 ;;
  *" - bcachefs "* | *" - exfat "* | *" - ntfs"*) return 0 ;;
  esac
  return 1
}
is_network() {
  case $1 in
  *" - nfs"* | *" - cifs "* | *" - smb3 "* | *" - ceph "* | *" - lustre "* | *" - gpfs "* | *" - fuse."*) return 0 ;;
  *" - beegfs "* | *" - glusterfs "* | *" - afs "* | *" - wekafs "* | *" - 9p "* | *" - virtiofs "*) return 0 ;;
  esac
  return 1
}

# all mounts, and the sizes of the local ones by one df
disks() {
  set --
  buf=
  while read -r id parent dev root mount rest; do
    if [ "$mount" = / ] || is_local "$rest"; then
      case $mount in
      *\\*) ;;
      *)
        [ -d "$mount" ] || continue
        [ $# -lt 64 ] && set -- "$@" "$mount"
        ;;
      esac
    else
      is_network "$rest" || continue
    fi
    put M "$id $parent $dev $root $mount $rest"
  done </proc/self/mountinfo
  flush M
  echo "M ."
  [ $# -gt 0 ] && child df -Pk "$@" 2>/dev/null | tag D
  echo "D ."
}

# the sizes of those behind a network by a df each, since only these can hang
netdisks() {
  nets=0
  while read -r id parent dev root mount rest; do
    case $mount in / | *\\*) continue ;; esac
    is_network "$rest" || continue
    nets=$((nets + 1))
    [ "$nets" -le 16 ] && job "net$nets" netdisk "$mount"
  done </proc/self/mountinfo
}
netdisk() {
  child df -Pk "$1" | tag D
  echo "D . $1"
}

processes() {
  set +f
  set -- /proc/[0-9]*
  set -f
  total=$#
  buf=
  count=0
  for dir in "$@"; do
    count=$((count + 1))
    [ "$count" -gt 4096 ] && break
    read -r line <"$dir/stat" || continue
    name=${line#*\(}
    name=${name%)*}
    rest=${line##*) }
    pid=${line%% *}
    # state ppid pgrp session tty tpgid flags minflt cminflt majflt cmajflt utime stime ... start(20) vsize rss(22)
    set -- $rest
    put P "$pid ${12} ${13} ${20} ${22} $name"
  done 2>/dev/null
  flush P
  read -r up rest </proc/uptime
  set +f
  ls -ldn /proc/[0-9]* 2>/dev/null | {
    me k
    buf=
    while read -r mode links uid rest; do put U "${rest##*/} $uid"; done
    flush U
  }
  set -f
  echo "P . $total $up"
}

passwd() {
  buf=
  count=0
  while IFS=: read -r name x uid rest; do
    count=$((count + 1))
    [ "$count" -gt 512 ] && break
    put W "$uid $name"
  done </etc/passwd
  flush W
}

apps() {
  child nvidia-smi --query-compute-apps=gpu_uuid,pid,process_name,used_gpu_memory --format=csv,nounits 2>&1 | tag A
  echo "A ."
}
smi_list() {
  child nvidia-smi -L 2>&1 | tag L
  echo "L ."
}
smi_table() {
  child nvidia-smi 2>&1 | tag T
  echo "T ."
}

kernel_log() {
  {
    child dmesg 2>&1
    echo "status $?"
  } | grep -a -e 'NVRM: .*Xid' -e '^status ' -e 'denied' -e 'permitted' | tail -n 65 | tag K
  echo "K ."
}

units() {
  if [ -d /run/systemd/system ] && command -v systemctl >/dev/null; then
    {
      child systemctl list-units --type=service --all --plain --no-legend --no-pager --full 2>/dev/null
      echo "status $?"
    } | grep -e '^status ' -e '\.service' | tag S
    set +f
    for unit in /etc/systemd/system/*.service; do
      if [ -f "$unit" ] && [ ! -L "$unit" ]; then echo "S local ${unit##*/}"; fi
    done
    set -f
  else
    echo "S status unsupported"
  fi
  # a docker that was stopped while systemd listens in its place: to ask would start it
  set -- /run/systemd/units/invocation:docker
  if command -v docker >/dev/null && { [ ! -L "$1.socket" ] || [ -L "$1.service" ]; }; then
    {
      child docker ps -a --no-trunc --format '{{.Names}}|{{.Status}}|{{.Image}}' 2>&1
      echo "status $?"
    } | tag C
  else
    echo "C status unsupported"
  fi
  echo "S ."
}

# inside TOKEN: the sockets that listen, and settings of sshd. Whose the sockets are would cost a shell a process each
# to find out, and the firewall's rules one for each line: neither is asked here.
inside() {
  for file in tcp tcp6; do sockets "$1" "$file"; done
  PATH=$PATH:/usr/sbin:/sbin
  if command -v sshd >/dev/null; then settings "$1"; else echo "Q $1 x absent"; fi
  echo "Q $1 ."
}
# s ADDRESS:PORT UID for each, as the kernel writes them; f FILE STATUS when grep is done with it
sockets() {
  if [ ! -e "/proc/net/$2" ]; then
    echo "Q $1 f $2 absent"
    return
  fi
  {
    child grep ' 0A ' "/proc/net/$2"
    echo "status $?"
  } | {
    me k
    buf=
    count=0
    while read -r slot local remote state queues timer retrans uid rest; do
      count=$((count + 1))
      [ "$slot" = status ] && put Q "$1 f $2 $local"
      [ "$state" = 0A ] && [ "$count" -le 4000 ] && put Q "$1 s $local $uid"
    done
    flush Q
  }
}
# k KEY VALUE for each; x STATUS and the first other word when sshd is done
settings() {
  {
    child sshd -T 2>&1
    echo "status $?"
  } | {
    me k
    said=
    while read -r key value; do
      case $key in
      passwordauthentication | kbdinteractiveauthentication | permitrootlogin | pubkeyauthentication | port | \
        permitemptypasswords | x11forwarding | maxauthtries) printf 'Q %s k %s %.64s\n' "$1" "$key" "$value" ;;
      status) printf 'Q %s x %s %.200s\n' "$1" "$value" "$said" ;;
      *) [ -n "$said" ] || said="$key $value" ;;
      esac
    done
  }
}

# due NAME SECONDS: true when that much has passed since it was last true (and at first)
due() {
  eval "last=\${due_$1:-}"
  if [ -n "$last" ] && [ $((${up%%.*} - last)) -lt "$2" ]; then return 1; fi
  eval "due_$1=${up%%.*}"
}

ticker() {
  exec 5>&-
  nappish
  me t
  QD_EVERY=$1
  scans=0
  while :; do
    kill -0 "$QD_READER" 2>/dev/null || exit 0
    sample
    if due disks 10; then
      job disks disks
      netdisks
    fi
    # the first scan only tells the second what to compare with
    if [ "$QD_EVERY" = 1 ] || [ "$scans" -lt 2 ] || due processes 30; then
      job processes processes && scans=$((scans + 1))
    fi
    due log 60 && job log kernel_log
    due units 60 && job units units
    if [ -n "$QD_SMI" ]; then
      if due apps 30 || { [ "$QD_EVERY" = 1 ] && due fastapps 5; }; then job apps apps; fi
      due list 300 && job list smi_list
      due table 60 && job table smi_table
    fi
    nap "$QD_INTERVAL"
  done
}

# --- nvidia-smi in loop mode ----------------------------------------------------------------------------------------

smi_loop() {
  exec 5>&-
  nappish
  me t
  while :; do
    for query in "$QD_A" "$QD_B" "$QD_C"; do
      {
        me k
        exec nvidia-smi --query-gpu="$query" --format=csv,nounits -lms "$QD_MS" 4>&-
      } 2>&1 </dev/null | {
        me k
        status=0
        while IFS= read -r line; do
          case $line in *"not a valid field"*) status=3 ;; esac
          printf 'g %.3900s\n' "$line"
        done
        exit $status
      }
      [ $? = 3 ] || break
    done
    echo "G exited"
    nap 30
  done
}

# --- the reader -----------------------------------------------------------------------------------------------------

fact() {
  [ -n "$2" ] && printf 'H %s %.300s\n' "$1" "$2"
}

hello() {
  name=
  read -r name </proc/sys/kernel/hostname
  fact hostname "$name"
  name=
  read -r name </proc/sys/kernel/osrelease
  fact kernel "$name"
  name=
  read -r name </proc/sys/kernel/random/boot_id
  fact boot_id "$name"
  for file in /etc/os-release /usr/lib/os-release; do
    if [ -r "$file" ]; then
      while IFS= read -r line; do
        case $line in PRETTY_NAME=*) fact os "$line" ;; esac
      done <"$file"
      break
    fi
  done
  if [ -r /proc/driver/nvidia/version ]; then
    read -r line </proc/driver/nvidia/version
    fact driver "$line"
  fi
  fact pid "$QD_READER"
  fact interval "$QD_INTERVAL"
  fact ticks "$(getconf CLK_TCK 2>/dev/null || echo 100)"
  fact page "$(getconf PAGESIZE 2>/dev/null || echo 4096)"
  fact smi "${QD_HAVE_SMI:-no}"
  echo "H ."
} 2>/dev/null

# look TOKEN: answer in the background, at most two at once (one may just be about to end)
look() {
  alive=
  for pid in $QD_LOOKS; do
    read -r stat <"/proc/$pid/stat" && case ${stat##*) } in Z*) ;; *) alive="$alive $pid" ;; esac
  done 2>/dev/null
  set -- "$1" $alive
  if [ $# -gt 2 ]; then
    echo "Q $1 no error busy: the last looks are not done yet"
    return
  fi
  (
    exec 5>&-
    me k
    inside "$1"
  ) </dev/null 2>/dev/null &
  QD_LOOKS="$alive $!"
}

start_ticker() {
  if [ -n "$QD_TICKER" ]; then
    kill "$QD_TICKER" 2>/dev/null
    wait "$QD_TICKER" 2>/dev/null
  fi
  ticker "$1" </dev/null &
  QD_TICKER=$!
}

start_smi() {
  [ "$QD_HAVE_SMI" = yes ] || return
  QD_MS=${QD_INTERVAL%%.*}
  case $QD_INTERVAL in
  *.*) QD_MS=$(awk "BEGIN{print int($QD_INTERVAL*1000)}" 2>/dev/null || echo 1000) ;;
  *) QD_MS=$((QD_INTERVAL * 1000)) ;;
  esac
  [ "${QD_MS:-0}" -ge 100 ] || QD_MS=1000
  smi_loop </dev/null &
  QD_SMI=$!
}

renew() {
  [ -n "$QD_SLEEPER" ] && kill "$QD_SLEEPER" 2>/dev/null
  (
    nappish
    me t
    exec 4>&- 5>&-
    nap "$QD_WATCHDOG" && kill -9 "$QD_READER"
  ) </dev/null >/dev/null 2>&1 &
  QD_SLEEPER=$!
}

reader() {
  exec 5>&1 1>&3 3>&-
  read -r QD_READER rest </proc/self/stat
  QD_SLEEPER= QD_TICKER= QD_SMI= QD_HAVE_SMI= QD_LOOKS= every=0
  command -v nvidia-smi >/dev/null 2>&1 && QD_HAVE_SMI=yes
  renew
  hello
  passwd
  start_smi
  start_ticker 0
  while read -r verb value rest; do
    case $verb in
    h)
      read -r up rest </proc/uptime
      printf 'h %.20s %s\n' "$value" "$up"
      renew
      ;;
    p)
      every=$value
      start_ticker "$every"
      ;;
    i)
      case $value in
      *[!0-9.]* | '' | *.*.*) ;;
      *)
        QD_INTERVAL=$value
        fact interval "$QD_INTERVAL"
        start_ticker "$every"
        ;;
      esac
      ;;
    l) look "${value:--}" ;;
    c | b) echo "Q ${value:--} no unsupported a host without Python cannot be asked this" ;;
    q) break ;;
    esac
  done
}

# same PID BORN: the process is there and still the one that was named
same() {
  case $1 in '' | 0* | 1 | *[!0-9]*) return 1 ;; esac
  born "$1"
  [ -n "$2" ] && [ "$qd_born" = "$2" ]
}

# bury WORD...: end the named processes; what does not obey a TERM (it hangs in a write) gets a KILL
bury() {
  stubborn=
  for one in "$@"; do
    pid=${one#*:}
    same "${pid%:*}" "${pid#*:}" || continue
    case $one in
    k:*) kill -9 "${pid%:*}" ;;
    t:*) kill "${pid%:*}" && stubborn="$stubborn $one" ;;
    esac
  done
  [ -n "$stubborn" ] || return
  sleep 1
  for one in $stubborn; do
    pid=${one#*:}
    same "${pid%:*}" "${pid#*:}" && kill -9 "${pid%:*}"
  done
} 2>/dev/null

undertaker() {
  exec 3>&- >/dev/null
  trap '' HUP TERM INT PIPE
  all= ended=
  while read -r how pid start rest; do
    if [ "$how" = end ]; then
      ended=yes
      bury $all
      all=
    elif [ -n "$ended" ]; then
      bury "k:$pid:$start"
    else
      all="$all $how:$pid:$start"
      if [ ${#all} -gt 2000 ]; then
        alive=
        for one in $all; do
          pid=${one#*:}
          same "${pid%:*}" "${pid#*:}" && alive="$alive $one"
        done
        all=$alive
      fi
    fi
  done
  bury $all
}

# sees the reader's end: the reader alone holds the other end of its stdin
mourner() {
  exec 3>&- >/dev/null
  trap '' HUP TERM INT PIPE
  while read -r none; do :; done
  echo end >&4
}

# fd 3: the real stdout; fd 4: to the undertaker; fd 5: to the mourner
# (moved by exec inside the functions: a shell keeps a copy of what a redirected call replaces, and its children inherit it)
{ { reader | mourner; } 4>&1 | undertaker; } 3>&1

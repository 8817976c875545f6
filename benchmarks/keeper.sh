# The keeper of what runs on a host: one per set of commands, on an SSH channel of its own. Sent over stdin, nothing is
# written to disk. POSIX sh; needs grep, sleep and a readable /proc.
#
# Every command carries a token, NONCE.NUMBER., on the command line of its leading shell and in the environment of all
# below that. The keeper ends the bearers of a token, and all in the sessions that bearers lead: TERM, then KILL.
#   in   h          a heartbeat                    out   QDC1 NONCE ready
#        k N|N|...  end these commands                   x N|N|... LEFT   done; LEFT processes would not end
#        q          end all of them, and the keeper
# The end of stdin, or QD_W seconds without a heartbeat, is a q.
#
# The reader reads stdin. The undertaker sees the end of the pipe between them when the reader is gone, however it ended.
# A sleeper, renewed by each heartbeat, kills a reader that hears nothing.
set -f
LC_ALL=C
export LC_ALL
unset CDPATH ENV

# nap SECONDS: a sleep that ends when this process is told to
nap() {
  sleep "$1" &
  qd_nap=$!
  wait "$qd_nap"
}
nappish() {
  qd_nap=
  trap '[ -n "$qd_nap" ] && kill "$qd_nap" 2>/dev/null; exit 0' TERM
}

add() {
  case " $pids " in
  *" $1 "*) return 1 ;;
  esac
  pids="$pids $1"
}

# whom PATTERN: into pids, the bearers and everybody in the sessions that they lead; sids keeps these from call to call,
# for the leader may be gone before the others
whom() {
  pids=
  set +f
  for path in $(cd /proc && grep -slE -e "$1" [0-9]*/cmdline [0-9]*/environ); do
    pid=${path%%/*}
    add "$pid" || continue
    read -r stat <"/proc/$pid/stat" || continue
    set -- "$1" ${stat##*) }
    # pattern, state, parent, group, session
    [ "$5" = "$pid" ] || continue
    case "|$sids|" in
    *"|$pid|"*) ;;
    *) sids="$sids${sids:+|}$pid" ;;
    esac
  done
  if [ -n "$sids" ]; then
    for path in $(cd /proc && grep -slE -e "\) [^ZX] [0-9]+ [0-9]+ ($sids) " [0-9]*/stat); do
      add "${path%%/*}"
    done
  fi
  set -f
}

# bury PATTERN: end them all; a tenth of a second is what a pause takes
bury() {
  sids=
  turn=0
  whom "$1"
  [ -n "$pids" ] && kill -TERM $pids
  while [ -n "$pids" ] && [ "$turn" -lt $((QD_G + 50)) ]; do
    [ "$turn" -ge "$QD_G" ] && kill -KILL $pids
    sleep 0.1 || sleep 1
    turn=$((turn + 1))
    whom "$1"
  done
  set -- $pids
  left=$#
}

undertaker() {
  exec 3>&-
  trap '' HUP INT TERM PIPE
  while read -r verb numbers; do
    case $verb in
    k)
      (
        bury "$QD_N[.]($numbers)[.]"
        echo "x $numbers $left"
      ) </dev/null &
      ;;
    q) break ;;
    esac
  done
  bury "$QD_N[.]"
}

renew() {
  if [ -n "$QD_SLEEPER" ]; then
    kill "$QD_SLEEPER"
    wait "$QD_SLEEPER"
  fi
  (
    nappish
    exec 4>&-
    nap "$QD_W" && kill -9 "$QD_READER"
  ) </dev/null >/dev/null &
  QD_SLEEPER=$!
}

reader() {
  exec 4>&1 1>&3 3>&-
  read -r QD_READER rest </proc/self/stat
  QD_SLEEPER=
  renew
  echo "QDC1 $QD_N ready"
  while read -r verb numbers; do
    case $verb in
    h)
      renew
      # ends this reader when the undertaker is gone
      echo h >&4
      ;;
    k) echo "k $numbers" >&4 ;;
    q) break ;;
    esac
  done
  kill "$QD_SLEEPER"
  wait "$QD_SLEEPER"
  echo q >&4
}

for program in grep sleep; do
  if ! command -v "$program" >/dev/null; then
    echo "QDC1 $QD_N no $program"
    exit 1
  fi
done
if [ ! -r /proc/self/environ ]; then
  echo "QDC1 $QD_N no /proc"
  exit 1
fi
exec 2>/dev/null
# fd 3: the real stdout; fd 4: to the undertaker
{ reader | undertaker; } 3>&1

# What a host is, for programs that measure it: sections that benchmarks/machine.py reads. Writes nothing, needs cat,
# grep, sort and tail. $1: the compilers to look for, $2: also look for numpy when it is 1.
LC_ALL=C
export LC_ALL
exec 2>/dev/null
section() {
  echo "== $1"
}
# one PATH TEXT line for each file that can be read
lines_of() {
  for path in "$@"; do
    if [ -r "$path" ] && read -r value <"$path"; then
      echo "$path $value"
    fi
  done
}

section memory
grep -E '^(MemTotal|MemAvailable):' /proc/meminfo
section allowed
grep '^Cpus_allowed_list:' /proc/self/status
section load
cat /proc/loadavg
section cpuinfo
grep -E '^(vendor_id|cpu family|model name|flags|Features|CPU implementer|CPU part)[[:space:]]*:' /proc/cpuinfo | sort -u
section machine
uname -m

section caches
for folder in /sys/devices/system/cpu/cpu[0-9]*/cache/index[0-9]*; do
  level= type= size= shared=
  read -r level <"$folder/level"
  read -r type <"$folder/type"
  read -r size <"$folder/size"
  read -r shared <"$folder/shared_cpu_list"
  echo "$level $type ${size:--} ${shared:--}"
done | sort -u
section siblings
# not with read: these files cannot be read byte by byte
{ cat /sys/devices/system/cpu/cpu[0-9]*/topology/core_cpus_list ||
  cat /sys/devices/system/cpu/cpu[0-9]*/topology/thread_siblings_list; } | sort -u
section frequency
cat /sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_max_freq | sort -u

# limits of the control groups, from ours up to the root; a container sees its own as the root
section limits
while IFS=: read -r number controllers group; do
  case ",$controllers," in
  ,,) base=/sys/fs/cgroup files='memory.max memory.current cpu.max' ;;
  *,memory,*) base=/sys/fs/cgroup/memory files='memory.limit_in_bytes memory.usage_in_bytes' ;;
  *,cpu,*) base=/sys/fs/cgroup/$controllers files='cpu.cfs_quota_us cpu.cfs_period_us' ;;
  *) continue ;;
  esac
  while :; do
    for file in $files; do
      lines_of "$base$group/$file"
    done
    inactive=$(grep -E '^(total_)?inactive_file ' "$base$group/memory.stat" | sort | tail -n 1)
    [ -z "$inactive" ] || echo "$base$group/inactive_file ${inactive##* }"
    case $group in
    /) group= ;;
    */*) group=${group%/*} ;;
    *) break ;;
    esac
  done
done </proc/self/cgroup

section compilers
for name in $1; do
  path=$(command -v "$name") || continue
  version=$("$path" --version </dev/null | { read -r first && echo "$first"; })
  echo "$name ${version:-unknown version}"
done
section numpy
if [ "$2" = 1 ] && command -v python3 >/dev/null; then
  python3 -c 'import sys; sys.path = [p for p in sys.path if p]; import numpy; print(numpy.__version__)' </dev/null
fi
# what a run that was killed while it compiled may have left; younger ones may be of a run that goes on
section stale
for folder in "${TMPDIR:-/tmp}" /tmp /dev/shm /var/tmp; do
  find "$folder" -maxdepth 1 -type d -name 'quarterdeck-native.*' -mmin +10
done | sort -u
section end

# Compiles a program, removes what that needed, and becomes the program. $1: bytes of source that come first on stdin;
# $2: the compiler; $3: arguments of the program; $4: OMP_PROC_BIND.
# The folder is private and of a random name, and gone before the program runs: nothing is left behind however that ends.
# While it compiles the trap removes it.
LC_ALL=C
export LC_ALL
umask 077
folder=
trap 'if [ -n "$folder" ]; then rm -rf "$folder"; fi' 0
trap 'exit 129' 1 2 13 15

refuse() {
  echo "QDN failed $1"
  exit 3
}

noexec=
for place in "${TMPDIR:-}" /tmp /dev/shm /var/tmp; do
  [ -n "$place" ] && [ -d "$place" ] && [ -w "$place" ] || continue
  folder=$(mktemp -d "$place/quarterdeck-native.XXXXXXXXXX" 2>/dev/null) || {
    folder=
    continue
  }
  printf '#!/bin/sh\nexit 0\n' >"$folder/try" && chmod 700 "$folder/try" && "$folder/try" 2>/dev/null && break
  noexec="$noexec $place"
  rm -rf "$folder"
  folder=
done
[ -z "$noexec" ] || echo "QDN noexec$noexec"
[ -n "$folder" ] || refuse "place no folder in which a program could be made and started:${noexec:- none can be written}"
dd bs=1 count="$1" of="$folder/source.c" 2>/dev/null

compiled=
for flags in '-O3 -march=native -fopenmp' '-O3 -fopenmp' '-O3 -march=native' '-O3'; do
  if "$2" $flags -o "$folder/program" "$folder/source.c" -lm >"$folder/said" 2>&1 </dev/null; then
    compiled=$flags
    break
  fi
  [ "$flags" != '-O3 -march=native -fopenmp' ] || mv "$folder/said" "$folder/first"
done
if [ -z "$compiled" ]; then
  said=$(grep -m1 -iE 'error|cannot|not found' "$folder/first" || { read -r line <"$folder/first" && echo "$line"; })
  refuse "compile $said"
fi
echo "QDN compiled $compiled"
exec 9<"$folder/program" || refuse "place the program cannot be read again"
rm -rf "$folder"
folder=
OMP_PROC_BIND=$4
OMP_DYNAMIC=false
export OMP_PROC_BIND OMP_DYNAMIC
unset OMP_NUM_THREADS OMP_THREAD_LIMIT GOMP_CPU_AFFINITY OMP_PLACES OMP_SCHEDULE
exec /proc/self/fd/9 $3

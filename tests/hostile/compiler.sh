# compiler.sh: the compiler's command line, files and sizes (sourced by run.sh).

# ---- where it writes ----------------------------------------------------------
mknod device c 1 3 2>/dev/null || echo "skipped: no device can be made here"
for via in llvm cc; do
    [ -c device ] && expect 1 "device: error: is no file" \
        "$tw" build small.yaml --via $via -o device
    expect 1 "pipe: error: is no file" "$tw" build small.yaml --via $via -o pipe
    expect 1 "folder: error: is a directory" \
        "$tw" build small.yaml --via $via -o folder
done
[ -p pipe ] && pass || fail "a pipe was replaced"
if [ -c device ]; then
    ln -s device device-link
    expect 1 "device: error: is no file" "$tw" build small.yaml -o device-link
    [ -c device ] && pass || fail "a device was replaced"
fi
expect 2 "after \`-o\`" "$tw" build small.yaml -o ""
expect 2 "after \`-o\`" "$tw" emit small.yaml -o ""
expect 1 "No such file" "$tw" build small.yaml -o none/small
expect 1 "Not a directory" "$tw" build small.yaml -o data.txt/small
expect 1 "is not a directory" "$tw" emit small.yaml -o data.txt
expect 1 "holds .hidden" sh -c "touch folder/.hidden; \
    '$tw' emit small.yaml -o folder"
touch real
ln -s real link
expect 0 "" "$tw" build small.yaml -o link
[ -L link ] && [ -x real ] && pass || fail "a link was replaced by a program"

# ---- disks --------------------------------------------------------------------
for size in 1 100; do
    limited 3 "File too large" $size "$tw" build small.yaml -o limited
    limited 3 "File too large" $size "$tw" emit small.yaml -o limited
done
limited 3 "File too large" 1 "$tw" build small.yaml --via cc -o limited
limited 3 "File too large" 1 "$tw" init tiny -o limited
expect 3 "cannot write" sh -c "'$tw' ir small.yaml >/dev/full"
ls -d limited* >/dev/null 2>&1 && fail "something of a limited file is left" || pass
mkdir disk
if mount -t tmpfs -o size=100k tmpfs disk 2>/dev/null; then
    expect 3 "No space left" "$tw" build small.yaml -o disk/small
    expect 3 "No space left" "$tw" build small.yaml --via cc -o disk/small
    expect 3 "No space left" "$tw" emit small.yaml -o disk/source
    [ -z "$(ls -A disk)" ] && pass || fail "left on a full disk: $(ls -A disk)"
    mount -o remount,ro disk
    expect 3 "Read-only" "$tw" build small.yaml -o disk/small
    expect 3 "Read-only" "$tw" emit small.yaml -o disk/source
    expect 3 "Read-only" "$tw" init tiny -o disk/tiny.yaml
    umount disk
else
    echo "skipped: no tmpfs can be mounted here (the compiler's full disks)"
fi

# ---- closed descriptors ---------------------------------------------------------
# A file that takes a closed one's number must not take in what is printed.
expect 0 "whole: cpu" "$tw" build small.yaml -o whole
for closed in '<&-' '2>&-' '<&- 2>&-' '>&-' '<&- >&- 2>&-'; do
    rm -f part
    sh -c "'$tw' build small.yaml -o part $closed" >out 2>err
    cmp -s whole part && pass || fail "a program built with $closed is another"
done
expect 3 "cannot write" sh -c "'$tw' ir small.yaml >&-"

# ---- what it reads ------------------------------------------------------------
expect 1 "pipe that nobody writes" "$tw" ir pipe
expect 1 "pipe that nobody writes" "$tw" build small.yaml -f pipe
expect 0 "module small" sh -c "(sleep 0.3; cat small.yaml) | '$tw' ir /dev/stdin"
expect 2 "unknown command" "$tw" --version more
expect 2 "not built yet" "$tw" ir small.yaml --dot
expect 2 "the plan has no rank 1" "$tw" ir small.yaml --rank 1
expect 0 "autodiff: " "$tw" ir small.yaml -v --after autodiff

# ---- sizes and what is frozen ---------------------------------------------------
# Whatever the front end lets through compiles, and fast.
for size in model.context=1073741824:train.sequence=1 model.blocks=1048576 \
    train.batch=1048576:reproducible.groups=1048576 model.vocab=2147483647 \
    train.batch=1048576:train.micro_batch=1 model.ff.dim=2147483647 \
    model.heads=1048576:model.dim=1048576 model.attention.window=2147483647 \
    model.vocab=1:model.dim=1:model.heads=1:model.context=1:train.batch=1; do
    IFS=: read -ra parts <<<"$size"
    expect 0 "sized: cpu" "$tw" build small.yaml -o sized "${parts[@]/#/--set=}"
done
expect 0 "sized: cpu" "$tw" build small.yaml -o sized --set model.blocks=1048576
expect 3 "of memory" ./sized train --data data.txt --out none
for key in model.blocks=1048577 model.heads=1048577 model.context=1073741825 \
    train.batch=1048577 reproducible.groups=2097152; do
    expect 1 "--set ${key%=*}:1:1: error" "$tw" build small.yaml --set $key
done

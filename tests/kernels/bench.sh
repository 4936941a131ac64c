#!/bin/sh
# bench.sh [THREADS [TOKENS…]]: our matrix products beside OpenBLAS's and oneDNN's,
# and our attention beside PyTorch's, one after another in one run. On a machine that
# does other work only the numbers of one thread (processor time) mean much.
# CC: our compiler (default gcc). PYTHON: one that has torch (default python3).
here=$(cd "$(dirname "$0")" && pwd)
kernels=$here/../../runtime/kernels
threads=${1:-1}
[ $# -gt 0 ] && shift
tokens=${*:-256 1024}
samples=${SAMPLES:-5}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cc=${CC:-gcc}
build="$cc -std=gnu11 -O3 -ffp-contract=off -fno-math-errno -mprefer-vector-width=512 -march=native"
build="$build -I$kernels"
for f in gemm attention sizes; do
    $build -c "$kernels/$f.c" -o "$out/$f.o" || exit 1
done
$build -c "$here/bench.c" -o "$out/bench.o" || exit 1
ours="$out/bench.o $out/gemm.o $out/attention.o $out/sizes.o"
$build -DPEER=0 "$here/bench_gemm.c" $ours -o "$out/ours" -pthread || exit 1
$build "$here/bench_attention.c" $ours -o "$out/attention" -lm -pthread || exit 1
blas=$(ls -d /usr/include/*/openblas-pthread /usr/include/openblas 2>/dev/null | head -n 1)
$build -DPEER=1 ${blas:+-I"$blas"} "$here/bench_gemm.c" "$out/bench.o" -o "$out/openblas" \
    -lopenblas -pthread 2>/dev/null || echo "no OpenBLAS here"
$build -DPEER=2 "$here/bench_gemm.c" "$out/bench.o" -o "$out/onednn" -ldnnl -pthread \
    2>/dev/null || echo "no oneDNN here"
export OMP_NUM_THREADS="$threads"
for t in $tokens; do
    for library in ours openblas onednn; do
        [ -x "$out/$library" ] || continue
        "$out/$library" "$threads" "$samples" "$t" | grep -e all: -e disturbed |
            sed "s/^/$library: /"
    done
done
"$out/attention" "$threads" "$samples"
${PYTHON:-python3} "$here/bench_attention.py" "$threads" "$samples" || echo "no PyTorch here"

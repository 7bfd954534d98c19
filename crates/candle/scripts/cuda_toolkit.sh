#!/bin/sh
# Sets up everything that `--features cuda,nccl` needs to build, in FOLDER, from PyPI alone; no GPU and no driver are needed.
#
#   crates/candle/scripts/cuda_toolkit.sh FOLDER
#   . FOLDER/env.sh
#   cargo build --release --features cuda,nccl
#
# Needs python3 (with venv), gcc, 1.6 GB of disk. CUDA 13.0 wants driver 580 or newer where the binary runs.
set -eu
[ $# -eq 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)

[ -x "$folder/venv/bin/pip" ] || python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    'cuda-toolkit[nvcc,cudart,cccl,cublas,curand,nvrtc]==13.0.*' nvidia-nccl-cu13 >&2
packages=$("$folder/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/nvidia

# Build scripts look for a toolkit as NVIDIA's installer lays it out: bin, include, nvvm, and lib64 with unversioned names.
toolkit=$folder/toolkit
rm -rf "$toolkit"
mkdir -p "$toolkit/include" "$toolkit/lib64/stubs"
ln -s "$packages/cu13/bin" "$packages/cu13/nvvm" "$toolkit"
ln -s "$packages"/cu13/include/* "$packages"/nccl/include/* "$toolkit/include"
for library in "$packages"/cu13/lib/lib* "$packages"/nccl/lib/lib*; do
    name=$(basename "$library")
    ln -s "$library" "$toolkit/lib64/$name"
    case $name in *.so.*) ln -s "$name" "$toolkit/lib64/${name%%.so.*}.so" ;; esac
done

# The driver's library comes with the driver. To link without one: a library of its name with every function of its header, each
# answering CUDA_ERROR_STUB_LIBRARY. Programs also start with it, and find no GPU.
{
    echo '#define STUB(name) int name(void) { return 34; }'
    grep -oE '\bcu[A-Z][A-Za-z0-9_]*' "$toolkit/include/cuda.h" | sort -u | sed 's/.*/STUB(&)/'
} | gcc -shared -fPIC -Wl,-soname,libcuda.so.1 -x c -o "$toolkit/lib64/stubs/libcuda.so.1" -
ln -s libcuda.so.1 "$toolkit/lib64/stubs/libcuda.so"

cat > "$folder/env.sh" <<END
export CUDA_HOME='$toolkit' CUDA_PATH='$toolkit' CUDA_ROOT='$toolkit' CUDA_TOOLKIT_ROOT_DIR='$toolkit'
export NVCC='$toolkit/bin/nvcc' PATH='$toolkit/bin':"\$PATH"
export LIBRARY_PATH='$toolkit/lib64:$toolkit/lib64/stubs'\${LIBRARY_PATH:+:\$LIBRARY_PATH}
export LD_LIBRARY_PATH='$toolkit/lib64'\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
# 90 is Hopper, and runs on nothing else; 80 is Ampere, and runs on everything newer as well.
export CUDA_COMPUTE_CAP=\${CUDA_COMPUTE_CAP:-90}
END
cat "$folder/env.sh"

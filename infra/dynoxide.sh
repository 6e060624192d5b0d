# sh infra/dynoxide.sh VENV
# Fetches dynoxide for this platform where it is missing; nothing to do where another DynamoDB, or another program, is named.
set -eu
venv=$1
if [ -n "${BULKHEAD_DYNOXIDE:-}" ] || [ -n "${AWS_ENDPOINT_URL_DYNAMODB:-}" ]; then
    exit 0
fi
# The lock file holds dynoxide for linux-x64 only; other platforms take their own package, where there is one.
platform=$("$venv/bin/python" -c 'from infra.local.dynamodb import npm_platform; print(npm_platform())')
if [ -x "node_modules/@dynoxide/$platform/dynoxide" ]; then
    exit 0
fi
echo "Fetching dynoxide, a DynamoDB emulator, for $platform"
PATH=$PWD/$venv/bin:$PATH
export PATH
version=$("$venv/bin/python" -c 'from infra.local.dynamodb import VERSION; print(VERSION)')
rm -rf "node_modules/@dynoxide/$platform"
if ! "$venv/bin/npm" install --no-save --no-audit --no-fund --loglevel=error "@dynoxide/$platform@$version" ||
    [ ! -x "node_modules/@dynoxide/$platform/dynoxide" ]; then
    "$venv/bin/python" -c 'from infra.local.dynamodb import missing; print("Without it:", missing())' >&2
fi

#!/usr/bin/env bash
# Puts a dump of backup-postgres.sh into an empty database: the newest, or the one that is named.
#
#   restore-postgres.sh [NAME | FILE] [--config GRAVITON.CONF]
#
# Stop all daemons first. The database comes back whole or stays empty. With --config (or GRAVITON_CONFIG)
# 'graviton fsck --after-restore' follows, which ends with status 3 where something is missing: what was stored
# after the backup is not in it.
set -euo pipefail
umask 077
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/backup/common.sh
. "$here/common.sh"

wanted=''
config=${GRAVITON_CONFIG:-}
while (($#)); do
    case $1 in
        --config)
            config=${2:?--config needs a file}
            shift
            ;;
        -*) die "unknown option $1" ;;
        *) wanted=$1 ;;
    esac
    shift
done

need psql gzip
connect_by_jdbc

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' INT TERM

newest() {
    s3 s3api list-objects-v2 --bucket "$BACKUP_BUCKET" --prefix "$BACKUP_PREFIX/graviton_backup_" \
        --query 'Contents[].Key' --output text | tr '\t' '\n' | sed 's|.*/||' | grep -Ex "$BACKUP_NAME" | sort | tail -n 1
}

if [[ -n $wanted && -f $wanted ]]; then
    file=$wanted
elif [[ -n $wanted && -f $BACKUP_DIR/$wanted ]]; then
    file=$BACKUP_DIR/$wanted
else
    need aws
    [[ -n $wanted ]] || wanted=$(newest) || die "there is no backup in s3://$BACKUP_BUCKET/$BACKUP_PREFIX/"
    file=$work/dump.sql.gz
    s3 s3 cp --only-show-errors "s3://$BACKUP_BUCKET/$BACKUP_PREFIX/$wanted" "$file"
fi
is_whole "$file" || die "$file is no whole dump"

[[ -z $(sql --command "SELECT to_regclass('meta')") ]] ||
    die "the database holds a store already: make an empty one (createdb), and name that in PG_JDBC_URL"

gzip --decompress --stdout "$file" | sql --single-transaction --file - >/dev/null
say "${wanted:-$file} is restored"

if [[ -n $config ]]; then
    graviton fsck --after-restore "$config"
else
    say "now, before any daemon is started:  graviton fsck --after-restore GRAVITON.CONF"
fi

#!/usr/bin/env bash
# A dump of graviton's database, in a bucket and in a local directory; see common.sh for the settings.
#
# It is there whole or not at all. While it is made nothing is condemned by any collector, and as long as it is
# kept, collectors leave the packs alone that it needs (graviton dump --list shows it, of the engine "postgres").
# So restore-postgres.sh brings back every file, not only the names.
#
# Order: the database knows that a dump is being made; the dump, checked; its copy in the bucket, checked; the
# packs it needs, with the end of its making; its local name. Then what is older than BACKUP_DAYS goes.
set -euo pipefail
umask 077
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/backup/common.sh
. "$here/common.sh"

need psql pg_dump gzip aws
connect_by_jdbc

name=graviton_backup_$(date -u +%Y%m%d_%H%M%S).sql.gz
draft=$BACKUP_DIR/.$name.part
object=s3://$BACKUP_BUCKET/$BACKUP_PREFIX/$name
registered=0 uploaded=0 complete=0

# shellcheck disable=SC2317,SC2329  # called by the trap
clean_up() {
    local status=$?
    ((complete)) && return
    set +e
    rm -f -- "$draft"
    ((uploaded)) && s3 s3 rm --only-show-errors "$object"
    ((registered)) && drop "$name"
    say "the backup has failed, and nothing of it is left"
    exit "$((status ? status : 1))"
}

drop() {
    sql --command "DELETE FROM dumped_packs WHERE owner = 'postgres' AND name = '$1'" \
        --command "DELETE FROM dumps WHERE owner = 'postgres' AND name = '$1'"
}

begin() {
    sql --command "INSERT INTO dumps (owner, name, until)
        VALUES ('postgres', '$name', $CLOCK + 12 * 3600 * 1000000000::bigint)"
}

# Of the packs that are live now (those that were when the dump began are among them) what the newest dump on
# the targets needs, and what was stored or relied on since that began, with the collectors' margin of 20 minutes.
# Without such a dump: all, and then waste is kept as long as these backups follow each other.
keep() {
    sql --single-transaction --command "WITH newest AS (
            SELECT name, (extract(epoch FROM to_timestamp(left(name, 8) || substr(name, 10, 6),
                'YYYYMMDDHH24MISS'))::bigint - 1200) * 1000000000 AS since
            FROM dumps WHERE owner = 'backup' AND until = 0 ORDER BY name DESC LIMIT 1)
        INSERT INTO dumped_packs (owner, name, pack)
        SELECT 'postgres', '$name', p.number FROM packs p LEFT JOIN newest ON true
        WHERE p.state = 'live' AND (newest.name IS NULL OR greatest(p.created, p.relied) >= newest.since
            OR EXISTS (SELECT 1 FROM dumped_packs d
                WHERE d.owner = 'backup' AND d.name = newest.name AND d.pack = p.number))" \
        --command "DO \$\$ BEGIN
            UPDATE dumps SET until = 0 WHERE owner = 'postgres' AND name = '$name' AND until > $CLOCK;
            IF NOT FOUND THEN RAISE EXCEPTION 'the dump took longer than it may: make it anew'; END IF;
        END \$\$"
}

mkdir -p -- "$BACKUP_DIR"
trap clean_up EXIT
trap 'exit 130' INT TERM

registered=1
begin
# What belongs to processes, and to this server's transactions, is over when the dump is restored.
pg_dump --no-owner --no-privileges --exclude-table-data=changes --exclude-table-data=turns \
    --exclude-table-data=leases --exclude-table-data=engines --exclude-table-data=dumps \
    --exclude-table-data=dumped_packs "$PGURL" | gzip > "$draft"
is_whole "$draft" || die "the dump is not whole"
sync -- "$draft"

uploaded=1
s3 s3 cp --only-show-errors "$draft" "$object"
there=$(s3 s3api head-object --bucket "$BACKUP_BUCKET" --key "$BACKUP_PREFIX/$name" \
    --query ContentLength --output text)
[[ $there == "$(stat --format=%s -- "$draft")" ]] || die "the bucket has another length than was sent"

keep
mv -- "$draft" "$BACKUP_DIR/$name"
sync -- "$BACKUP_DIR"
complete=1
say "$object"

# --- what is too old ---

cutoff=graviton_backup_$(date -u --date="$BACKUP_DAYS days ago" +%Y%m%d_%H%M%S).sql.gz

stored() {
    s3 s3api list-objects-v2 --bucket "$BACKUP_BUCKET" --prefix "$BACKUP_PREFIX/graviton_backup_" \
        --query 'Contents[].Key' --output text | tr '\t' '\n' | sed 's|.*/||'
}

too_old() { grep -Ex "$BACKUP_NAME" | while read -r old; do [[ $old < $cutoff ]] && printf '%s\n' "$old"; done || true; }

find "$BACKUP_DIR" -maxdepth 1 -name '.graviton_backup_*.part' -mmin +1440 -delete
find "$BACKUP_DIR" -maxdepth 1 -name 'graviton_backup_*.sql.gz' -printf '%f\n' | too_old |
    while read -r old; do rm -f -- "$BACKUP_DIR/$old"; done
listed=$(stored)
printf '%s\n' "$listed" | too_old |
    while read -r old; do s3 s3 rm --only-show-errors "s3://$BACKUP_BUCKET/$BACKUP_PREFIX/$old"; done
# Last: until its file is gone a dump holds its packs. Those that were retired (graviton dump --drop) go, too.
sql --command "SELECT name FROM dumps WHERE owner = 'postgres' AND until <= 0" | too_old |
    while read -r old; do drop "$old"; done
sql --command "SELECT name FROM dumps WHERE owner = 'postgres' AND until = -1" | grep -Ex "$BACKUP_NAME" |
    while read -r old; do
        rm -f -- "$BACKUP_DIR/$old"
        s3 s3 rm --only-show-errors "s3://$BACKUP_BUCKET/$BACKUP_PREFIX/$old"
        drop "$old"
    done || true

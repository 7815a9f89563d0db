# shellcheck shell=bash
# What the scripts beside this one share. Sourced, never run.
#
# PG_JDBC_URL, PG_USERNAME, PG_PASSWORD       the database, as for graviton itself
# GRAVITON_BACKUP_BUCKET, GRAVITON_BACKUP_DIR where its dumps go (graviton-backups, /var/backups/graviton)
# GRAVITON_BACKUP_DAYS                        how long they stay there (30)
# GRAVITON_S3_ENDPOINT                        of an S3-compatible store; credentials are those of the aws CLI
# The aws CLI and PostgreSQL's client programs have to be there.

BACKUP_BUCKET=${GRAVITON_BACKUP_BUCKET:-graviton-backups}
BACKUP_PREFIX=postgres
BACKUP_DIR=${GRAVITON_BACKUP_DIR:-/var/backups/graviton}
BACKUP_DAYS=${GRAVITON_BACKUP_DAYS:-30}
BACKUP_NAME='graviton_backup_[0-9]{8}_[0-9]{6}\.sql\.gz'
export BACKUP_BUCKET BACKUP_PREFIX BACKUP_DIR BACKUP_DAYS BACKUP_NAME

# The database's clock in nanoseconds, as graviton has it.
export PGTZ=UTC
CLOCK="(extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000"
export CLOCK

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() {
    say "$*"
    exit 1
}

need() {
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null || die "the program $program is missing"
    done
}

s3() { aws ${GRAVITON_S3_ENDPOINT:+--endpoint-url "$GRAVITON_S3_ENDPOINT"} "$@"; }

# What libpq understands of a JDBC URL, in PGURL; user and password go in the environment, not on a
# command line, where others could read them.
connect_by_jdbc() {
    local url=${PG_JDBC_URL:?set PG_JDBC_URL to jdbc:postgresql://host[:port]/database}
    local place query pair name value kept=''
    [[ $url == jdbc:postgresql://*/* ]] || die "PG_JDBC_URL is not jdbc:postgresql://host[:port]/database"
    url=${url#jdbc:}
    place=${url%%\?*}
    query=''
    [[ $url == *\?* ]] && query=${url#*\?}
    [[ -n ${PG_USERNAME:-} ]] && export PGUSER=$PG_USERNAME
    [[ -n ${PG_PASSWORD:-} ]] && export PGPASSWORD=$PG_PASSWORD
    while IFS= read -r -d '&' pair; do
        name=${pair%%=*}
        value=${pair#*=}
        case $name in
            user) PGUSER=$(unescape "$value") && export PGUSER ;;
            password) PGPASSWORD=$(unescape "$value") && export PGPASSWORD ;;
            sslmode | sslrootcert | sslcert | sslkey) kept+="&$name=$value" ;;
            ssl) [[ $query == *sslmode=* || $value == false ]] || kept+='&sslmode=verify-full' ;;
            connectTimeout | loginTimeout) kept+="&connect_timeout=$value" ;;
            targetServerType)
                case $value in
                    primary | master) kept+='&target_session_attrs=read-write' ;;
                esac
                ;;
        esac
    done < <(printf '%s' "${query:+$query&}")
    PGURL=$place${kept:+?${kept#&}}
    export PGURL
}

unescape() {
    local text=$1
    printf '%b' "${text//%/\\x}"
}

sql() { psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 "$@" "$PGURL"; }

# A dump that is cut off has no such line.
is_whole() {
    gzip --test "$1" 2>/dev/null && gzip --decompress --stdout "$1" | tail -n 5 | grep -q '^-- PostgreSQL database dump complete'
}

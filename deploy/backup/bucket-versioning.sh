#!/usr/bin/env bash
# Versions, life cycle and, where another bucket is named, replication of graviton's bucket of packs.
#
# GRAVITON_S3_BUCKET            the bucket of packs
# GRAVITON_REPLICA_BUCKET_ARN   where its objects are replicated to: arn:aws:s3:::BUCKET, with versioning on
# GRAVITON_REPLICATION_ROLE     ARN of the role that may do so
#
# A pack that was deleted by mistake is then an old version, for as long as lifecycle.json keeps those: see
# docs/backup.md. Repeating it is harmless.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/backup/common.sh
. "$here/common.sh"

need aws sed
bucket=${GRAVITON_S3_BUCKET:?set GRAVITON_S3_BUCKET to the bucket of packs}

s3 s3api put-bucket-versioning --bucket "$bucket" --versioning-configuration Status=Enabled
status=$(s3 s3api get-bucket-versioning --bucket "$bucket" --query Status --output text)
[[ $status == Enabled ]] || die "versioning of $bucket is $status"

s3 s3api put-bucket-lifecycle-configuration --bucket "$bucket" \
    --lifecycle-configuration "file://$here/lifecycle.json"

if [[ -n ${GRAVITON_REPLICA_BUCKET_ARN:-} ]]; then
    role=${GRAVITON_REPLICATION_ROLE:?set GRAVITON_REPLICATION_ROLE to the ARN of the role that replicates}
    rules=$(sed -e "s|REPLICATION_ROLE_ARN|$role|" -e "s|REPLICA_BUCKET_ARN|$GRAVITON_REPLICA_BUCKET_ARN|" \
        "$here/replication.json")
    s3 s3api put-bucket-replication --bucket "$bucket" --replication-configuration "$rules"
fi
say "$bucket keeps old versions${GRAVITON_REPLICA_BUCKET_ARN:+, and is replicated to $GRAVITON_REPLICA_BUCKET_ARN}"

"""Versions, delete markers, tags and Object Lock, by boto3."""

import datetime

from common import check, done, error_code, s3 as client

s3 = client()


def version(**arguments):
    return s3.put_object(**arguments)["VersionId"]


def body(**arguments):
    return s3.get_object(**arguments)["Body"].read()


def listed(bucket, **arguments):
    """All versions and delete markers, page by page, as (key, version, is latest, is marker)."""
    pages = s3.get_paginator("list_object_versions").paginate(
        Bucket=bucket, PaginationConfig={"PageSize": 2}, **arguments
    )
    return [
        (entry["Key"], entry["VersionId"], entry["IsLatest"], marker)
        for page in pages
        for marker, kind in [(False, "Versions"), (True, "DeleteMarkers")]
        for entry in page.get(kind, [])
    ]


def enable(bucket, status="Enabled"):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})


def versions_are_kept():
    s3.create_bucket(Bucket="versions")
    check("never versioned", "Status" not in s3.get_bucket_versioning(Bucket="versions"))
    s3.put_object(Bucket="versions", Key="k", Body=b"null")
    enable("versions")
    first = version(Bucket="versions", Key="k", Body=b"first")
    second = version(Bucket="versions", Key="k", Body=b"second")
    check("the newest is current", body(Bucket="versions", Key="k") == b"second")
    for name, content in [(first, b"first"), (second, b"second"), ("null", b"null")]:
        check(f"version {name}", body(Bucket="versions", Key="k", VersionId=name) == content)
    marker = s3.delete_object(Bucket="versions", Key="k")
    check("a delete makes a marker", marker["DeleteMarker"] and marker["VersionId"])
    check("and hides the object", error_code(s3.get_object, Bucket="versions", Key="k") == "NoSuchKey")
    check("but no version", body(Bucket="versions", Key="k", VersionId=first) == b"first")
    gone = error_code(s3.get_object, Bucket="versions", Key="k", VersionId=marker["VersionId"])
    check("a marker has no content", gone == "MethodNotAllowed")
    check("listings skip it", "Contents" not in s3.list_objects_v2(Bucket="versions"))
    s3.put_object(Bucket="versions", Key="other", Body=b"")
    # A page holds objects before markers, whatever their order.
    expected = {
        ("k", marker["VersionId"], True, True),
        ("k", second, False, False),
        ("k", first, False, False),
        ("k", "null", False, False),
    }
    check("all versions are listed", set(listed("versions", Prefix="k")) == expected)
    check("each once", len(listed("versions")) == 5)
    check("not empty", error_code(s3.delete_bucket, Bucket="versions") == "BucketNotEmpty")
    s3.delete_object(Bucket="versions", Key="k", VersionId=marker["VersionId"])
    check("without the marker it is back", body(Bucket="versions", Key="k") == b"second")
    s3.delete_object(Bucket="versions", Key="k", VersionId=second)
    check("then the one before", body(Bucket="versions", Key="k") == b"first")
    copied = s3.copy_object(
        Bucket="versions", Key="copy", CopySource={"Bucket": "versions", "Key": "k", "VersionId": "null"}
    )
    check("a version is copied", copied["CopySourceVersionId"] == "null")
    check("with its content", body(Bucket="versions", Key="copy") == b"null")

    enable("versions", "Suspended")
    s3.put_object(Bucket="versions", Key="k", Body=b"new null")
    check("suspended: the null version is replaced", body(Bucket="versions", Key="k", VersionId="null") == b"new null")
    check("and others stay", body(Bucket="versions", Key="k", VersionId=first) == b"first")
    s3.delete_object(Bucket="versions", Key="k")
    missing = error_code(s3.get_object, Bucket="versions", Key="k", VersionId="null")
    check("a null marker takes its place", missing == "MethodNotAllowed")

    everything = [{"Key": k, "VersionId": v} for k, v, _, _ in listed("versions")]
    deleted = s3.delete_objects(Bucket="versions", Delete={"Objects": everything})
    check("all versions at once", len(deleted["Deleted"]) == len(everything) and "Errors" not in deleted)
    s3.delete_bucket(Bucket="versions")


def tags_come_and_go():
    s3.create_bucket(Bucket="tags")
    enable("tags")
    old = version(Bucket="tags", Key="k", Body=b"x", Tagging="run=7&stage=train%20set")
    tags = {t["Key"]: t["Value"] for t in s3.get_object_tagging(Bucket="tags", Key="k")["TagSet"]}
    check("tags of the header", tags == {"run": "7", "stage": "train set"})
    check("counted", s3.get_object(Bucket="tags", Key="k")["TagCount"] == 2)
    s3.copy_object(Bucket="tags", Key="copy", CopySource="tags/k")
    check("copied", len(s3.get_object_tagging(Bucket="tags", Key="copy")["TagSet"]) == 2)
    s3.put_object(Bucket="tags", Key="k", Body=b"y")
    check("a new version has none", s3.get_object_tagging(Bucket="tags", Key="k")["TagSet"] == [])
    s3.put_object_tagging(Bucket="tags", Key="k", VersionId=old, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    kept = s3.get_object_tagging(Bucket="tags", Key="k", VersionId=old)["TagSet"]
    check("an old version is tagged", kept == [{"Key": "a", "Value": "b"}])
    s3.delete_object_tagging(Bucket="tags", Key="k", VersionId=old)
    check("and untagged", s3.get_object_tagging(Bucket="tags", Key="k", VersionId=old)["TagSet"] == [])
    many = [{"Key": str(i), "Value": ""} for i in range(11)]
    refused = error_code(s3.put_object_tagging, Bucket="tags", Key="k", Tagging={"TagSet": many})
    check("eleven are too many", refused == "InvalidTag")


def locks_hold():
    s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    lock = {"ObjectLockRetainUntilDate": until}
    strict = version(Bucket="locked", Key="strict", Body=b"x", ObjectLockMode="COMPLIANCE", **lock)
    mild = version(Bucket="locked", Key="mild", Body=b"x", ObjectLockMode="GOVERNANCE", **lock)
    held = version(Bucket="locked", Key="held", Body=b"x", ObjectLockLegalHoldStatus="ON")
    s3.delete_object(Bucket="locked", Key="strict")
    check("a marker hides and leaves", body(Bucket="locked", Key="strict", VersionId=strict) == b"x")

    def delete(key, name, **arguments):
        return error_code(s3.delete_object, Bucket="locked", Key=key, VersionId=name, **arguments)

    for key, name in [("strict", strict), ("mild", mild), ("held", held)]:
        check(f"{key} stays", delete(key, name) == "AccessDenied")
    bypass = {"BypassGovernanceRetention": True}
    check("nobody bypasses compliance", delete("strict", strict, **bypass) == "AccessDenied")
    check("nor a legal hold", delete("held", held, **bypass) == "AccessDenied")
    check("root bypasses governance", delete("mild", mild, **bypass) is None)
    s3.put_object_legal_hold(Bucket="locked", Key="held", LegalHold={"Status": "OFF"})
    check("a hold is lifted", delete("held", held) is None)
    shorter = error_code(
        s3.put_object_retention,
        Bucket="locked",
        Key="strict",
        VersionId=strict,
        Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until - datetime.timedelta(hours=1)},
    )
    check("compliance is not shortened", shorter == "AccessDenied")
    suspend = error_code(
        s3.put_bucket_versioning, Bucket="locked", VersioningConfiguration={"Status": "Suspended"}
    )
    check("nor is versioning suspended", suspend == "InvalidBucketState")


versions_are_kept()
tags_come_and_go()
locks_hold()
done()

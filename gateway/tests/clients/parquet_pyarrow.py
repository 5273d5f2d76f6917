"""pyarrow: parquet datasets written and read through its own S3 file system (the AWS SDK for C++)."""

from common import ACCESS_KEY, CA_FILE, HOST, MIB, REGION, SECRET_KEY
from common import check, data, done, need_module, s3

pa = need_module("pyarrow")
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs

ROWS, GROUP = 400_000, 50_000
store = fs.S3FileSystem(
    access_key=ACCESS_KEY,
    secret_key=SECRET_KEY,
    region=REGION,
    endpoint_override=HOST,
    tls_ca_file_path=CA_FILE,
    allow_bucket_creation=True,
    allow_bucket_deletion=True,
    retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),
)
table = pa.table({
    "id": pa.array(range(ROWS), pa.int64()),
    "part": pa.array([i % 4 for i in range(ROWS)], pa.int32()),
    "name": pa.array([f"row {i} ü" for i in range(ROWS)]),
    "noise": pa.array([data(24, i) for i in range(ROWS)], pa.binary()),
})


def files():
    store.create_dir("parquet")
    with store.open_output_stream("parquet/a folder/é +%.bin", metadata={"Content-Type": "application/x-test"}) as out:
        for at in range(12):
            out.write(data(2 * MIB, at))
    info = store.get_file_info("parquet/a folder/é +%.bin")
    check("size of a file written as a stream", info.size == 24 * MIB)
    head = s3().head_object(Bucket="parquet", Key="a folder/é +%.bin")
    check("it went up by parts", "-" in head["ETag"] and head["ContentType"] == "application/x-test")
    with store.open_input_file("parquet/a folder/é +%.bin") as file:
        check("a range across parts", file.read_at(100, 10 * MIB - 50) == (data(2 * MIB, 4) + data(2 * MIB, 5))[2 * MIB - 50 : 2 * MIB + 50])
        file.seek(24 * MIB - 7)
        check("the end", file.read() == data(2 * MIB, 11)[-7:])
    store.copy_file("parquet/a folder/é +%.bin", "parquet/copy")
    store.move("parquet/copy", "parquet/moved/file")
    kinds = [store.get_file_info(f"parquet/{name}").type for name in ("moved/file", "moved", "copy")]
    check("moved", kinds == [fs.FileType.File, fs.FileType.Directory, fs.FileType.NotFound])
    with store.open_output_stream("parquet/nothing") as _:
        pass
    check("an empty file", store.get_file_info("parquet/nothing").size == 0)
    store.create_dir("parquet/x/y/z", recursive=True)
    check("folders", [i.path for i in store.get_file_info(fs.FileSelector("parquet/x", recursive=True))] == ["parquet/x/y", "parquet/x/y/z"])
    store.delete_dir("parquet/x")
    check("folders deleted", store.get_file_info("parquet/x").type == fs.FileType.NotFound)


def one_parquet_file():
    pq.write_table(table, "parquet/one.parquet", filesystem=store, row_group_size=GROUP)
    check("all of it", pq.read_table("parquet/one.parquet", filesystem=store).equals(table))
    check("one column", pq.read_table("parquet/one.parquet", filesystem=store, columns=["name"]).equals(table.select(["name"])))
    with store.open_input_file("parquet/one.parquet") as source:
        file = pq.ParquetFile(source, pre_buffer=True)
        check("row groups", file.num_row_groups == ROWS // GROUP)
        group = file.read_row_group(5, columns=["id", "noise"])
        check("one row group", group.equals(table.slice(5 * GROUP, GROUP).select(["id", "noise"])))
    few = pq.read_table("parquet/one.parquet", filesystem=store, filters=[("id", ">=", ROWS - 3)])
    check("what a filter lets pass", few.equals(table.slice(ROWS - 3)))


def datasets():
    hive = ds.partitioning(pa.schema([("part", pa.int32())]), flavor="hive")
    options = {"filesystem": store, "format": "parquet", "partitioning": hive}
    ds.write_dataset(table, "parquet/set", max_rows_per_file=30_000, max_rows_per_group=10_000, **options)
    found = ds.dataset("parquet/set", **options)
    check("a file per 30,000 rows of each partition", len(found.files) == 16)
    check("all rows", found.to_table().sort_by("id").select(table.column_names).equals(table))
    some = found.to_table(columns=["id"], filter=(pc.field("part") == 3) & (pc.field("id") < 100))
    check("columns and rows of one partition", sorted(some["id"].to_pylist()) == list(range(3, 100, 4)))
    counts = pq.ParquetFile(found.files[0], filesystem=store).metadata.num_rows
    check("a footer alone", counts == 30_000)
    ds.write_dataset(table.slice(0, 8), "parquet/set", existing_data_behavior="delete_matching", **options)
    check("overwritten", found.files != ds.dataset("parquet/set", **options).files and ds.dataset("parquet/set", **options).count_rows() == 8)


files()
one_parquet_file()
datasets()
store.delete_dir("parquet")
check("the bucket is gone", store.get_file_info("parquet").type == fs.FileType.NotFound)
done()

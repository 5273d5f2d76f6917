"""DuckDB: parquet read and written by SQL over s3:// (its httpfs extension, from a package)."""

from common import ACCESS_KEY, CA_FILE, HOST, REGION, SECRET_KEY
from common import check, done, need_module, s3

duckdb = need_module("duckdb")
httpfs = need_module("duckdb_extension_httpfs")
import pathlib

ROWS = 300_000
extension = next(pathlib.Path(httpfs.__file__).parent.rglob("httpfs.duckdb_extension"))
db = duckdb.connect(config={"autoinstall_known_extensions": "false"})
db.execute(f"LOAD '{extension}'")
db.execute(f"SET ca_cert_file = '{CA_FILE}'; SET enable_server_cert_verification = true; SET http_retries = 0")
db.execute(
    f"""CREATE SECRET (TYPE s3, KEY_ID '{ACCESS_KEY}', SECRET '{SECRET_KEY}', REGION '{REGION}',
        ENDPOINT '{HOST}', URL_STYLE 'path', USE_SSL true)"""
)
boto = s3()
boto.create_bucket(Bucket="duckdb")


def rows(query):
    return db.execute(query).fetchall()


db.execute(f"CREATE TABLE source AS SELECT i AS id, i % 3 AS part, 'row ' || i AS name, random() AS x FROM range({ROWS}) r(i)")

db.execute("COPY source TO 's3://duckdb/one.parquet' (ROW_GROUP_SIZE 50000)")
check("count, from the footer", rows("SELECT count(*) FROM 's3://duckdb/one.parquet'") == [(ROWS,)])
check("the same rows", rows("SELECT count(*) FROM (FROM source EXCEPT FROM 's3://duckdb/one.parquet')") == [(0,)])
picked = rows("SELECT name FROM 's3://duckdb/one.parquet' WHERE id = 123456")
check("one row of one row group", picked == [("row 123456",)])
groups = rows("SELECT count(DISTINCT row_group_id) FROM parquet_metadata('s3://duckdb/one.parquet')")
check("row groups", groups[0][0] >= 5, groups)

db.execute("COPY source TO 's3://duckdb/set' (FORMAT parquet, PARTITION_BY (part))")
names = [o["Key"] for o in boto.list_objects_v2(Bucket="duckdb", Prefix="set/")["Contents"]]
check("a folder for each partition", {name.split("/")[1] for name in names} == {"part=0", "part=1", "part=2"})
query = "SELECT part, count(*), sum(id) FROM {} GROUP BY part ORDER BY part"
listed = query.format("read_parquet('s3://duckdb/set/*/*.parquet', hive_partitioning = true)")
check("partitions, by glob", rows(listed) == rows(query.format("source")))

db.execute("COPY (SELECT * FROM source LIMIT 1000) TO 's3://duckdb/a folder/é +%.csv'")
check("CSV under an odd name", rows("SELECT count(*) FROM 's3://duckdb/a folder/é +%.csv'") == [(1000,)])
check("glob", len(rows("FROM glob('s3://duckdb/**')")) == len(names) + 2)
try:
    rows("FROM 's3://duckdb/none.parquet'")
    check("what is not there is said to be missing", False)
except duckdb.Error as error:
    check("what is not there is said to be missing", "404" in str(error) or "No files found" in str(error), str(error))
done()

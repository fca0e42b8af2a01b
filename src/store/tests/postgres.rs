//! What is PostgreSQL's own. Needs the server that `COUNTERSIGN_TEST_POSTGRES` names: `./test` starts
//! one and runs these with `--ignored`.

use super::*;
use crate::store::connection::Connection;

const NEEDED: &str =
    "COUNTERSIGN_TEST_POSTGRES names a server: `tests/postgres run cargo test ...` starts one";

async fn empty(options: &str) -> TestDatabase {
    TestDatabase::empty(server::server().expect(NEEDED), options).await
}

pub(super) async fn ledger() -> Ledger {
    let database = TestDatabase::copy_of_prepared(server::server().expect(NEEDED), prepare).await;
    Ledger::at(Place::Database(database)).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES"]
async fn many_replicas_that_start_at_once_make_one_schema() {
    let database = empty("").await;
    let starts: Vec<_> = (0..8)
        .map(|_| {
            let settings = postgres_settings(&database.url());
            tokio::spawn(async move { Store::open(&settings).await })
        })
        .collect();
    for start in starts {
        start.await.unwrap().unwrap().close().await;
    }
}

#[tokio::test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES"]
async fn a_server_that_would_acknowledge_early_is_refused() {
    for (setting, good, wrong) in [
        ("synchronous_commit", "on", vec!["off", "local", "remote_write"]),
        ("synchronous_commit", "remote_apply", vec![]),
        ("session_replication_role", "origin", vec!["replica", "local"]),
    ] {
        let database = empty("").await;
        for wrong in wrong {
            database.run(&format!("ALTER DATABASE {} SET {setting} = {wrong}", database.name())).await;
            let error = Store::open(&postgres_settings(&database.url())).await.unwrap_err().to_string();
            assert!(error.contains(&format!("{setting} stands at `{wrong}`, set it to")), "{error}");
        }
        database.run(&format!("ALTER DATABASE {} SET {setting} = {good}", database.name())).await;
        Store::open(&postgres_settings(&database.url())).await.unwrap().close().await;
    }
}

#[tokio::test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES"]
async fn a_database_in_another_encoding_is_refused() {
    let database = empty("TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'").await;
    let error = Store::open(&postgres_settings(&database.url())).await.unwrap_err().to_string();
    assert!(error.contains("server_encoding stands at `SQL_ASCII`"), "{error}");
}

#[tokio::test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES"]
async fn a_setting_that_turns_bad_later_stops_recording_until_it_is_good() {
    let ledger = ledger().await;
    let Place::Database(database) = &ledger.place else { panic!() };
    ledger.record(sample(1).build()).await.unwrap();
    // As a superuser could do it to a session that is open.
    ledger.run("SET synchronous_commit = off").await.unwrap();
    database.run(&format!("ALTER DATABASE {} SET synchronous_commit = off", database.name())).await;
    let refused = ledger.record(sample(2).build()).await;
    assert!(matches!(refused, Err(RecordError::Store(StoreError::Unavailable(_)))), "{refused:?}");
    database.run(&format!("ALTER DATABASE {} RESET synchronous_commit", database.name())).await;
    assert_eq!(ledger.record(sample(3).build()).await.unwrap().number, 2);
}

#[tokio::test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES"]
async fn readers_cannot_write_to_a_server_either() {
    let ledger = ledger().await;
    let insert = Statement::new("INSERT INTO names (name) VALUES ('x')");
    let error = insert.execute(&ledger.connections().readers).await.unwrap_err();
    assert!(error.to_string().contains("read-only"), "{error}");
}

#[tokio::test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES"]
async fn a_list_is_read_as_its_statement_was_written_and_a_count_as_the_server_likes() {
    let ledger = ledger().await;
    let settings = [
        ("plan_cache_mode", "force_generic_plan", "auto"),
        ("enable_seqscan", "off", "on"),
        ("enable_bitmapscan", "off", "on"),
        ("enable_hashjoin", "off", "on"),
        ("enable_mergejoin", "off", "on"),
        ("jit", "off", "off"),
    ];
    for (setting, of_lists, of_counts) in settings {
        let counting = ledger.survey(move |connection| Box::pin(shown(setting, connection))).await.unwrap();
        assert_eq!(counting, of_counts, "{setting}");
        // The same connection, which nobody else has.
        let listing = ledger.read(move |connection| Box::pin(shown(setting, connection))).await.unwrap();
        assert_eq!(listing, of_lists, "{setting}");
    }
}

async fn shown(setting: &'static str, connection: &mut Connection) -> Result<String, StoreError> {
    let mut show = Statement::new("SELECT current_setting(");
    show.bind(setting).push(")");
    Ok(show.optional(connection).await?.unwrap().at(0)?)
}

#[tokio::test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES"]
async fn any_number_of_replicas_serve_from_one_database() {
    let ledger = ledger().await;
    let beside = ledger.beside().await;
    ledger.lock_for_serving().unwrap();
    beside.lock_for_serving().unwrap();
}

#[tokio::test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES"]
async fn a_clock_over_a_minute_from_the_databases_is_refused_and_moves_nothing() {
    let ledger = ledger().await;
    let Place::Database(database) = &ledger.place else { panic!() };
    for (off, refused) in [(-61, true), (-60, false), (60, false), (61, true)] {
        let time = NOW.unix() + off;
        let body = format!("'SELECT CAST({time} AS BIGINT)'");
        database
            .run(&format!("CREATE OR REPLACE FUNCTION ledger_time() RETURNS BIGINT LANGUAGE sql AS {body}"))
            .await;
        let serial = u64::try_from(off + 100).unwrap();
        let outcome = ledger.record(sample(serial).build()).await;
        let of_refusal = ledger.record_refusal(refusal()).await;
        let health = ledger.health().await.unwrap();
        assert_eq!(health.database_time, Some(Time::from_unix(time)));
        assert_eq!(health.clock_is_off(NOW, 60), refused);
        if refused {
            let at = Time::from_unix(time);
            assert!(
                matches!(outcome, Err(RecordError::ClockOff { database }) if database == at),
                "{outcome:?}"
            );
            assert!(matches!(of_refusal, Err(RefusalError::ClockOff { .. })), "{of_refusal:?}");
        } else {
            outcome.unwrap();
            of_refusal.unwrap();
        }
    }
    assert_eq!(ledger.all().await.len(), 2);
}

#[tokio::test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES"]
async fn the_databases_clock_is_the_servers() {
    let database = empty("").await;
    let store = Store::open(&postgres_settings(&database.url())).await.unwrap();
    let time = store.health().await.unwrap().database_time.unwrap();
    assert!(time.seconds_since(crate::clock::Clock::System.now()).abs() <= 5, "{time}");
    store.close().await;
}

#[tokio::test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES"]
async fn a_state_that_another_holds_is_unavailable_within_five_seconds_and_recovers() {
    let ledger = ledger().await;
    let beside = ledger.beside().await;
    let mut other = beside.connections().writer.acquire().await.unwrap();
    other
        .run("SET idle_in_transaction_session_timeout = 0; BEGIN; UPDATE state SET number = number")
        .await
        .unwrap();
    let started = std::time::Instant::now();
    let refused = ledger.record(sample(1).build()).await;
    assert!(matches!(refused, Err(RecordError::Store(StoreError::Unavailable(_)))), "{refused:?}");
    assert!(started.elapsed() < std::time::Duration::from_secs(5));
    ledger.health().await.unwrap();
    other.run("ROLLBACK").await.unwrap();
    assert_eq!(ledger.record(sample(2).build()).await.unwrap().number, 1);
}

#[tokio::test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES"]
async fn a_replica_that_stands_still_in_a_transaction_holds_the_others_for_a_moment_only() {
    let ledger = ledger().await;
    let beside = ledger.beside().await;
    let mut other = beside.connections().writer.acquire().await.unwrap();
    other.run("BEGIN; UPDATE state SET number = number").await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
    assert_eq!(ledger.record(sample(1).build()).await.unwrap().number, 1);
    drop(other);
    // Its connection is gone; it makes another.
    assert_eq!(beside.record(sample(2).build()).await.unwrap().number, 2);
}

#[tokio::test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES"]
async fn connections_that_were_cut_are_made_again() {
    let ledger = ledger().await;
    ledger.record(sample(1).build()).await.unwrap();
    for serial in 2..5 {
        let Place::Database(database) = &ledger.place else { panic!() };
        database
            .run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                  WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .await;
        let number = ledger.record(sample(serial).build()).await.unwrap().number;
        assert_eq!(u64::try_from(number).unwrap(), serial);
        assert_eq!(ledger.all().await.len(), usize::try_from(serial).unwrap());
    }
}

#[tokio::test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES"]
async fn a_server_that_is_not_there_is_unavailable_and_named_without_the_password() {
    let settings = postgres_settings("postgres://me:hunter2@127.0.0.1:1/none");
    let error = Store::open(&settings).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains("postgres://me@127.0.0.1:1/none") && !text.contains("hunter2"), "{text}");
}

#[tokio::test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES"]
async fn references_that_lead_nowhere_are_found() {
    let ledger = ledger().await;
    ledger.record(sample(1).build()).await.unwrap();
    assert_eq!(ledger.integrity().await.unwrap(), Vec::<String>::new());
    ledger
        .run("SET session_replication_role = replica; DELETE FROM events; RESET session_replication_role")
        .await
        .unwrap();
    let problems = ledger.integrity().await.unwrap();
    assert_eq!(problems, ["a row of certificates refers to a row of events that is not there"]);
}

#[tokio::test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES"]
async fn a_newer_schema_and_a_foreign_database_are_refused() {
    let database = empty("").await;
    database.run("CREATE TABLE customers (name TEXT)").await;
    let error = Store::open(&postgres_settings(&database.url())).await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt(why) if why.contains("another program")), "{error}");
    let ledger = ledger().await;
    let Place::Database(database) = &ledger.place else { panic!() };
    database
        .run(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
              VALUES (9999, 'later', true, '', 0)",
        )
        .await;
    let error = Store::open(&ledger.place.settings()).await.unwrap_err();
    assert!(matches!(&error, StoreError::NewerSchema(why) if why.contains("9999")), "{error}");
}

//! Keeps the connection: the only one that waits for a server that is away.

use super::link::Connection;
use super::{Redis, Unavailable};
use crate::time::{Duration, sleep, timeout};

/// Between two looks at a server that answers.
const PING: Duration = Duration::from_secs(1);
/// Between two tries to connect, at least; twice that at the most, so that processes do not come all at once.
const PAUSE: Duration = Duration::from_millis(250);

/// Connects, and connects again, for as long as it runs.
#[derive(Debug)]
pub struct Keeper(Redis);

impl Keeper {
    pub(super) fn new(redis: Redis) -> Self {
        Self(redis)
    }

    /// Runs for ever.
    ///
    /// # Cancel safety
    /// Commands fail once it is dropped and the connection is lost.
    pub async fn run(self) {
        let mut is_told = false;
        loop {
            match self.connect().await {
                Ok(()) => {
                    is_told = false;
                    tracing::info!("connected to Redis");
                    self.watch().await;
                }
                Err(error) if !is_told => {
                    is_told = true;
                    tracing::warn!(error, "Redis cannot be reached: this process goes on alone, and tries again");
                }
                Err(error) => tracing::debug!(error, "Redis cannot be reached"),
            }
            sleep(PAUSE.mul_f64(1.0 + fastrand::f64())).await;
        }
    }

    /// Until it answers. Channels are heard again before anybody is told.
    async fn connect(&self) -> Result<(), String> {
        let shared = &self.0.0;
        let connecting = async {
            let mut connection = Connection::open(&shared.config, &shared.bells).await?;
            let () = ::redis::cmd("PING").query_async(&mut connection).await?;
            for channel in shared.bells.channels() {
                connection.subscribe(&channel).await?;
            }
            Ok(connection)
        };
        match timeout(shared.config.connect_timeout * 2, connecting).await {
            Ok(Ok(connection)) => {
                self.0.found(connection);
                shared.bells.ring_all();
                Ok(())
            }
            Ok(Err::<_, ::redis::RedisError>(error)) => Err(error.to_string()),
            Err(_) => Err("it does not answer in time".to_owned()),
        }
    }

    /// Until it is lost.
    async fn watch(&self) {
        while self.0.is_up() {
            tokio::select! {
                // It may tell of a loss before this connection.
                () = self.0.0.lost.notified() => continue,
                () = sleep(PING) => {}
            }
            // Whoever is silent three times in a row is lost, whoever asks.
            let _: Result<(), Unavailable> = self.0.run(&::redis::cmd("PING")).await;
        }
    }
}

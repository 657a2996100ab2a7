//! Connections: to one server, to whichever server the sentinels name, or to a cluster.

use std::sync::Arc;

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::cluster::ClusterClientBuilder;
use ::redis::cluster_async::ClusterConnection;
use ::redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline, ProtocolVersion,
    PushInfo, PushKind, RedisConnectionInfo, RedisFuture, RedisResult, TlsCertificates, TlsMode, Value,
};

use super::Config;
use super::bell::Bells;
use super::url::Kind;
use crate::secret::Secret;

/// Commands that wait for their turn on the connection.
const PIPELINE: usize = 4096;

/// A connection that many use at once.
#[derive(Clone)]
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::One(_) => "Connection::One",
            Self::Cluster(_) => "Connection::Cluster",
        })
    }
}

impl Connection {
    /// Connects anew; to the server that is the master now, where there are sentinels.
    pub(super) async fn open(config: &Config, bells: &Arc<Bells>) -> RedisResult<Self> {
        let servers = &config.servers;
        let nodes: Vec<ConnectionAddr> = servers.addresses(config.ca_pem.is_some());
        let certificates = TlsCertificates { client_tls: None, root_cert: config.ca_pem.clone() };
        let user = user(config);
        let push = push(bells);
        let options = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(config.connect_timeout))
            .set_response_timeout(Some(config.connect_timeout))
            .set_pipeline_buffer_size(PIPELINE)
            .set_push_sender(push.clone());
        match &servers.kind {
            Kind::One => {
                let [address, ..] = &nodes[..] else { return Err(no_servers()) };
                let info = address.clone().into_connection_info()?.set_redis_settings(user);
                let client = client(info, &servers.is_tls, certificates)?;
                Ok(Self::One(client.get_multiplexed_async_connection_with_config(&options).await?))
            }
            Kind::Sentinel { service } => {
                let mut builder = SentinelClientBuilder::new(nodes, service, SentinelServerType::Master)?
                    .set_client_to_redis_protocol(ProtocolVersion::RESP3)
                    .set_client_to_redis_db(servers.database);
                if let Some(name) = user.username() {
                    builder = builder.set_client_to_redis_username(name);
                }
                if let Some(password) = user.password() {
                    builder = builder.set_client_to_redis_password(password);
                }
                if servers.is_tls {
                    builder = builder
                        .set_client_to_redis_tls_mode(TlsMode::Secure)
                        .set_client_to_sentinel_tls_mode(TlsMode::Secure)
                        .set_client_to_redis_certificates(certificates.clone())
                        .set_client_to_sentinel_certificates(certificates);
                }
                let mut client = builder.build()?;
                Ok(Self::One(client.get_async_connection_with_config(&options).await?))
            }
            Kind::Cluster => {
                let mut builder = ClusterClientBuilder::new(nodes)
                    .use_protocol(ProtocolVersion::RESP3)
                    .connection_timeout(config.connect_timeout)
                    .response_timeout(config.connect_timeout)
                    .retries(1)
                    .push_sender(push);
                if let Some(name) = user.username() {
                    builder = builder.username(name);
                }
                if let Some(password) = user.password() {
                    builder = builder.password(password);
                }
                if servers.is_tls {
                    builder = builder.tls(TlsMode::Secure).certs(certificates);
                }
                Ok(Self::Cluster(builder.build()?.get_async_connection().await?))
            }
        }
    }

    pub(super) async fn subscribe(&mut self, channel: &str) -> RedisResult<()> {
        match self {
            Self::One(connection) => connection.subscribe(channel).await,
            Self::Cluster(connection) => connection.subscribe(channel).await,
        }
    }

    pub(super) async fn unsubscribe(&mut self, channel: &str) -> RedisResult<()> {
        match self {
            Self::One(connection) => connection.unsubscribe(channel).await,
            Self::Cluster(connection) => connection.unsubscribe(channel).await,
        }
    }
}

fn user(config: &Config) -> RedisConnectionInfo {
    let mut user = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3).set_db(config.servers.database);
    if let Some(name) = &config.servers.user {
        user = user.set_username(name);
    }
    if let Some(password) = config.password.as_ref().map(Secret::expose) {
        user = user.set_password(password);
    }
    user
}

fn client(info: ConnectionInfo, is_tls: &bool, certificates: TlsCertificates) -> RedisResult<Client> {
    if *is_tls { Client::build_with_tls(info, certificates) } else { Client::open(info) }
}

/// Rings the bell that a message is for. It must not wait.
fn push(bells: &Arc<Bells>) -> impl Fn(PushInfo) -> Result<(), ()> + Clone + Send + Sync + 'static {
    let bells = Arc::clone(bells);
    move |PushInfo { kind, data }| {
        if let (PushKind::Message, Some(Value::BulkString(channel))) = (kind, data.first())
            && let Ok(channel) = std::str::from_utf8(channel)
        {
            bells.ring(channel);
        }
        Ok(())
    }
}

fn no_servers() -> ::redis::RedisError {
    (::redis::ErrorKind::InvalidClientConfig, "no server is named").into()
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

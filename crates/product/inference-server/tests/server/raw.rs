//! gRPC whose messages are bytes, for paths and messages that the generated client has not.

use bytes::{Buf as _, BufMut as _, Bytes};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use crate::world::World;

#[derive(Clone, Copy, Debug)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

pub(crate) async fn connect(world: &World) -> Grpc<Channel> {
    let url = format!("http://{}", world.server.grpc_url());
    let channel = Channel::from_shared(url).expect("URL").connect().await.expect("connected");
    let mut client = Grpc::new(channel);
    client.ready().await.expect("ready");
    client
}

/// One call, without credentials.
pub(crate) async fn call(world: &World, path: &'static str, message: Bytes) -> Result<Bytes, Status> {
    let path = PathAndQuery::from_static(path);
    let answer = connect(world).await.unary(Request::new(message), path, Raw).await;
    answer.map(tonic::Response::into_inner)
}

/// The answers to one call, without credentials.
pub(crate) async fn answers(client: &mut Grpc<Channel>, path: &'static str, message: Bytes) -> Streaming<Bytes> {
    let path = PathAndQuery::from_static(path);
    let answer = client.server_streaming(Request::new(message), path, Raw).await;
    answer.expect("a stream").into_inner()
}

//! Configuration for our gateways: the user's objects as their texts, one resource each.
//!
//! Written by hand: one message is not worth a compiler of protobuf in the build.

/// Type of documents without secrets.
pub const DOCUMENT: &str = "type.googleapis.com/sallyport.config.v1.Document";
/// Type of documents that are Secrets, given only to who may see them. The message is the same.
pub const SECRET_DOCUMENT: &str = "type.googleapis.com/sallyport.config.v1.SecretDocument";
/// What a node says in its metadata (Istio's field `GENERATOR`) to be given documents.
pub const GENERATOR: &str = "sallyport";

/// One document of the user's files.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Document {
    /// Name of its file.
    #[prost(string, tag = "1")]
    pub file: String,
    /// Line of its first byte, from 1.
    #[prost(uint32, tag = "2")]
    pub line: u32,
    /// Place among the objects of its file.
    #[prost(uint32, tag = "3")]
    pub ordinal: u32,
    /// The text.
    #[prost(string, tag = "4")]
    pub text: String,
}

//! The JSON Schema (draft 2020-12) of the lab file.
//!
//! It is generated from the types in [`crate::spec`]; here are the forms that JSON Schema has and
//! the types have not, since the short forms are gone once a file is read.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use crate::problem::Placed;
use crate::spec::{Answer, Dns, File, Health, Interface, Match, Segment, Spec, TunnelEnd, Volume};

/// The JSON Schema of the lab file, for editors and for people.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(without_null));
    settings.into_generator().into_root_schema_for::<Spec>().to_value()
}

/// A key that may be left out is not one that may be empty.
fn without_null(schema: &mut Schema) {
    let is_null = |it: &Value| it == "null" || it.get("type").is_some_and(|it| it == "null");
    for key in ["type", "anyOf"] {
        let Some(Value::Array(forms)) = schema.get_mut(key) else { continue };
        if forms.len() != 2 || !is_null(&forms[1]) {
            continue;
        }
        let form = forms.swap_remove(0);
        schema.remove(key);
        match form {
            Value::Object(inner) => {
                inner.into_iter().for_each(|(key, value)| {
                    schema.insert(key, value);
                });
            }
            word => {
                schema.insert(key.to_owned(), word);
            }
        }
    }
}

/// The place of a value is no part of the file.
impl<T: JsonSchema> JsonSchema for Placed<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Defines words of the lab file: a type for each, with its JSON Schema.
macro_rules! words {
    ($($(#[doc = $text:literal])+ $name:ident { $($body:tt)+ })+) => {$(
        $(#[doc = $text])+
        pub(crate) struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "description": concat!($($text),+).trim(), $($body)+ })
            }
        }
    )+};
}

words! {
    /// A name: 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit
    Name { "type": ["string", "integer"], "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$" }
    /// A name that is a key
    NameKey { "type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$" }
    /// A prefix, IPv4 or IPv6
    Prefix { "type": "string", "pattern": "^[0-9a-fA-F.:]+(/[0-9]{1,3})?$", "examples": ["10.0.0.0/24", "fd00::/64"] }
    /// An address, IPv4 or IPv6
    Address { "type": "string", "pattern": "^[0-9a-fA-F.:]+$", "examples": ["10.0.0.1", "fd00::1"] }
    /// An address of an interface
    InterfaceAddress { "type": "string", "pattern": "^[0-9a-fA-F.:]+(/[0-9]{1,3})?$", "examples": ["10.0.0.1", "fd00::1/64"] }
    /// A segment or a prefix
    SegmentOrPrefix { "type": "string", "examples": ["site-a", "10.1.0.0/16"] }
    /// A segment or an interface of the node
    SegmentOrInterface { "type": "string", "pattern": "^[A-Za-z0-9._-]+$", "examples": ["internet", "eth0"] }
    /// An address, a prefix, a node or a segment
    Party { "type": "string", "pattern": "^[0-9a-zA-Z.:/-]+$", "examples": ["10.1.0.0/16", "site-a"] }
    /// A protocol by name or number
    IpProtocol { "type": ["string", "integer"], "pattern": "^[a-z0-9-]+$", "examples": ["tcp", "udp", "icmp", "esp"] }
    /// A port or a range of ports
    Ports { "type": ["string", "integer"], "pattern": "^[0-9]+(-[0-9]+)?$", "examples": [22, "8000-8080"] }
    /// A type of ICMP or ICMPv6, in the words of nftables
    IcmpType { "type": "string", "pattern": "^[a-z0-9-]+$", "examples": ["echo-request"] }
    /// So many packets in a second, minute, hour or day
    Rate { "type": "string", "pattern": "^[0-9]+/(second|minute|hour|day)$", "examples": ["10/second"] }
    /// An address, with ports and protocol if not all are meant
    NatTarget { "type": "string", "examples": ["10.1.0.99:8080/tcp", "[fd00::99]:53/udp", "10.1.0.99"] }
    /// Ports and their protocol
    PortAndProtocol { "type": "string", "pattern": "^[0-9]+(-[0-9]+)?/(tcp|udp|sctp)$", "examples": ["80/tcp"] }
    /// An address or node, with a port if one is meant; a range of addresses; a port
    NatTo { "type": ["string", "integer"], "examples": ["10.3.0.2:8080", 8080] }
    /// A port of the host and the port of the node that it leads to, or ranges of them
    Publish { "type": ["string", "integer"], "pattern": "^((\\[[0-9a-fA-F:.]+\\]|[0-9]+(\\.[0-9]+){3}):)?[0-9]+(-[0-9]+)?(:[0-9]+(-[0-9]+)?)?(/(tcp|udp))?$", "examples": ["8080:80", "127.0.0.1:5353:53/udp"] }
    /// The name of an interface: 1 to 15 bytes
    InterfaceName { "type": "string", "pattern": "^[A-Za-z0-9._-]{1,15}$" }
    /// A hardware address
    MacAddress { "type": "string", "pattern": "^[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}$", "examples": ["02:00:00:00:00:01"] }
    /// What becomes of a packet: the address of a router, an interface, unreachable, blackhole or prohibit
    Via { "type": "string", "examples": ["10.0.0.1", "eth1", "unreachable"] }
    /// A kernel setting below net
    Sysctl { "type": "string", "pattern": "^net[./]" }
    /// A number, true or false, or text
    Scalar { "type": ["string", "number", "boolean"] }
    /// Bytes, or a number with a unit
    Memory { "type": ["string", "integer"], "pattern": "^[0-9]+ *(B|KiB|MiB|GiB|kB|MB|GB)?$", "minimum": 1, "examples": ["64MiB"] }
    /// A number with s or ms
    Duration { "type": "string", "pattern": "^[0-9]+(ms|s)$", "examples": ["2s", "500ms"] }
    /// A number with s, m, h or d
    Period { "type": "string", "pattern": "^[0-9]+[smhd]$", "examples": ["10s", "4h"] }
    /// By certificates of the lab's own authority
    Certificate { "const": "certificate" }
    /// By a secret that the lab makes
    Psk { "const": "psk" }
    /// A secret: 1 to 256 characters
    Secret { "type": ["string", "integer"], "minLength": 1, "maxLength": 256 }
    /// A number of seconds
    Seconds { "type": "string", "pattern": "^[0-9]+s$", "examples": ["25s"] }
    /// A name from images, base, host, or an image that others have made, with its tag or digest
    Image { "type": "string", "minLength": 1, "examples": ["base", "debian:12", "ghcr.io/owner/name:tag", "docker-daemon:name", "oci-archive:image.tar", "docker-archive:saved.tar"] }
    /// Which machines an image is for
    Platform { "type": "string", "pattern": "^[A-Za-z0-9]+/[A-Za-z0-9]+(/[A-Za-z0-9]+)?$", "examples": ["linux/amd64", "linux/arm64"] }
    /// A Debian release
    Suite { "type": "string", "pattern": "^[a-z]+$" }
    /// A Debian package
    Package { "type": "string", "pattern": "^[a-z0-9][a-z0-9+.-]+$" }
    /// An absolute path in the node
    AbsolutePath { "type": "string", "pattern": "^/" }
    /// A path below the lab's folder
    RelativePath { "type": "string", "pattern": "^[^/]", "examples": ["./www"] }
    /// Permission bits, in octal
    FileMode { "type": ["string", "integer"], "pattern": "^(0o?)?[0-7]{3}$", "examples": ["0640"] }
    /// A signal, by its name or number
    Signal { "type": ["string", "integer"], "pattern": "^([0-9]+|(SIG)?[A-Z0-9]+([+-][0-9]+)?)$", "examples": ["SIGINT"] }
    /// The name of a host
    HostName { "type": "string", "pattern": "^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$", "examples": ["db.example"] }
    /// An option of a resolver
    ResolverOption { "type": "string", "pattern": "^[A-Za-z0-9:_-]+$", "examples": ["ndots:2"] }
    /// What a node waits for: that the other has been started, that everything in it is ready, or that what it runs has ended with status 0
    ConditionWord { "enum": ["started", "ready", "done"] }
    /// A user by name or number, a colon and a group if it is not the user's own
    User { "type": ["string", "integer"], "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?$", "examples": ["www-data", "1000:1000"] }
    /// A name, or a folder of the host: below the lab's folder, or absolute
    VolumeSource { "type": "string", "pattern": "^([a-z0-9]|\\./|/)", "examples": ["data", "./site"] }
    /// What is shown, a colon, and where in the node
    VolumeWord { "type": "string", "pattern": "^[^:]+:/[^:]+$", "examples": ["data:/var/lib/app", "./site:/srv/site"] }
    /// A proposal in the words of strongSwan
    Proposal { "type": "string", "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$" }
    /// An address or the name of a node
    Host { "type": "string" }
    /// An address or the name of a node, a colon and a port
    HostAndPort { "type": "string", "pattern": ":[0-9]+$", "examples": ["10.0.0.1:80", "[fd00::1]:80"] }
    /// A TCP port
    Port { "type": "integer", "minimum": 1, "maximum": 65535 }
    /// A UDP port
    UdpPort { "type": "integer", "minimum": 1, "maximum": 65535 }
    /// A link of a node: the node, a colon, and the segment or interface
    LinkEnd { "type": "string", "pattern": "^[a-z0-9-]+:[A-Za-z0-9._-]+$", "examples": ["router:internet-a"] }
    /// A URL
    HttpUrl { "type": "string", "pattern": "^http://", "examples": ["http://10.0.0.1:8080/"] }
    /// No answer, or a tunnel that does not stand
    ExpectWord { "enum": ["blocked", "dropped", "rejected", "down"] }
    /// The status of an HTTP response
    Status { "type": "integer", "minimum": 100, "maximum": 599 }
}

/// `address` beside `addresses`.
pub(crate) fn also_address(table: &mut Schema) {
    also(table, "address", "addresses");
}

/// `prefix` beside `prefixes`.
pub(crate) fn also_prefix(table: &mut Schema) {
    also(table, "prefix", "prefixes");
}

/// Gives the table's key `many` a twin called `one`.
fn also(table: &mut Schema, one: &str, many: &str) {
    if let Some(Value::Object(properties)) = table.get_mut("properties")
        && let Some(property) = properties.get(many).cloned()
    {
        properties.insert(one.to_owned(), property);
    }
}

/// Things by name.
pub(crate) type Map<T> = BTreeMap<NameKey, T>;

/// One, or a list.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[expect(dead_code, reason = "the schema is made from its shape")]
pub(crate) enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

/// A segment: its prefix, a list of prefixes, or a table.
#[derive(JsonSchema)]
#[schemars(rename = "Segment", untagged)]
#[expect(dead_code, reason = "the schema is made from its shape")]
pub(crate) enum SegmentForm {
    Prefixes(OneOrMany<Prefix>),
    Table(Segment),
    Nothing(()),
}

/// An interface: its address, a list of addresses, or a table.
#[derive(JsonSchema)]
#[schemars(rename = "Interface", untagged)]
#[expect(dead_code, reason = "the schema is made from its shape")]
pub(crate) enum InterfaceForm {
    Addresses(OneOrMany<InterfaceAddress>),
    Table(Box<Interface>),
    Nothing(()),
}

/// The interfaces of a node: segments with addresses, or a list of tables with `segment`.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "the schema is made from its shape")]
pub(crate) enum Interfaces {
    BySegment(Map<InterfaceForm>),
    List(Vec<Interface>),
}

/// An end of a tunnel: a node, or a table that also says its address.
#[derive(JsonSchema)]
#[schemars(rename = "TunnelEnd", untagged)]
#[expect(dead_code, reason = "the schema is made from its shape")]
pub(crate) enum TunnelEndForm {
    Node(Name),
    Table(TunnelEnd),
}

/// A file of a node: its text, or a table.
#[derive(JsonSchema)]
#[schemars(rename = "File", untagged)]
#[expect(dead_code, reason = "the schema is made from its shape")]
pub(crate) enum FileForm {
    Text(Scalar),
    Table(Box<File>),
}

/// A folder that a node shares: `SOURCE:TARGET`, or a table.
#[derive(JsonSchema)]
#[schemars(rename = "Volume", untagged)]
#[expect(dead_code, reason = "the schema is made from its shape")]
pub(crate) enum VolumeForm {
    Word(VolumeWord),
    Table(Box<Volume>),
}

/// How the ends of a tunnel know each other.
#[derive(JsonSchema)]
#[schemars(rename = "Authentication", untagged)]
#[expect(dead_code, reason = "the schema is made from its shape")]
pub(crate) enum AuthForm {
    Certificate(Certificate),
    Psk(Psk),
    Secret(OwnSecret),
}

/// A secret of your own.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the schema is made from its shape")]
pub(crate) struct OwnSecret {
    /// The secret.
    psk: Secret,
}

/// When a service counts as ready.
#[derive(JsonSchema)]
#[schemars(rename = "Ready", untagged)]
#[expect(dead_code, reason = "the schema is made from its shape")]
pub(crate) enum ReadyForm {
    Once(ReadyOnce),
    /// As long as a program that is run again and again ends with status 0.
    Command(Box<Health>),
}

/// When a service counts as ready, once and for all.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", deny_unknown_fields)]
#[expect(dead_code, reason = "the schema is made from its shape")]
pub(crate) enum ReadyOnce {
    /// As soon as its program runs.
    Started,
    /// When it has ended with status 0.
    Done,
    /// When something in the node accepts connections to this TCP port of the loopback address.
    Tcp(Port),
    /// When something accepts connections to this socket.
    Unix(AbsolutePath),
    /// When this file is there.
    File(AbsolutePath),
}

/// The nodes that a node starts after.
#[derive(JsonSchema)]
#[schemars(rename = "After", untagged)]
#[expect(dead_code, reason = "the schema is made from its shape")]
pub(crate) enum AfterForm {
    Ready(OneOrMany<Name>),
    Table(Map<ConditionWord>),
}

/// Name servers: their addresses, or a table.
#[derive(JsonSchema)]
#[schemars(rename = "Dns", untagged)]
#[expect(dead_code, reason = "the schema is made from its shape")]
pub(crate) enum DnsForm {
    Servers(OneOrMany<Address>),
    Table(Box<Dns>),
}

/// What must come of a check.
#[derive(JsonSchema)]
#[schemars(rename = "Expect", untagged)]
#[expect(dead_code, reason = "the schema is made from its shape")]
pub(crate) enum ExpectForm {
    Word(ExpectWord),
    Status(Status),
    Answer(Answer),
}

/// Which packets a rule is about: a table, `established` (also what is related to such a
/// connection), or the name of a protocol.
#[derive(JsonSchema)]
#[schemars(rename = "Match", untagged)]
#[expect(dead_code, reason = "the schema is made from its shape")]
pub(crate) enum MatchForm {
    Word(IpProtocol),
    Table(Box<Match>),
}

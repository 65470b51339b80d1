//! The PROXY protocol, versions 1 and 2: a load balancer that passes bytes on says in front of them whose they are.
//! The form is that of HAProxy's `proxy-protocol.txt`; the library reads it, the bounds are here.

use std::net::IpAddr;

use ppp::{v1, v2};

/// What the first bytes of a connection say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// Not yet complete; more bytes have to come.
    Partial,
    /// Takes so many bytes. Without a client it is the balancer's own connection, or one whose origin it does not tell.
    Whole { bytes: usize, client: Option<IpAddr> },
}

/// The bytes are not a PROXY header, and no more bytes would make them one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadHeader {
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    #[error("the PROXY header is longer than {0} bytes")]
    TooLong(usize),
    #[error("the PROXY header of version 1 cannot be read: {0}")]
    Text(String),
    #[error("the PROXY header of version 2 cannot be read: {0}")]
    Binary(String),
}

/// Reads the header at the start of `bytes`.
pub(super) fn read(bytes: &[u8]) -> Result<Header, BadHeader> {
    if begins(bytes, v2::PROTOCOL_PREFIX) {
        return read_binary(bytes);
    }
    if begins(bytes, TEXT_PREFIX) { read_text(bytes) } else { Err(BadHeader::Missing) }
}

/// True if the bytes, as far as they have come, are those of the prefix.
fn begins(bytes: &[u8], prefix: &[u8]) -> bool {
    let known = bytes.len().min(prefix.len());
    bytes[..known] == prefix[..known]
}

fn read_text(bytes: &[u8]) -> Result<Header, BadHeader> {
    let within = &bytes[..bytes.len().min(TEXT_BYTES_MAX)];
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return if within.len() < TEXT_BYTES_MAX {
            Ok(Header::Partial)
        } else {
            Err(BadHeader::TooLong(TEXT_BYTES_MAX))
        };
    };
    let bytes = end + 2;
    let header = v1::Header::try_from(&within[..bytes]).map_err(|error| BadHeader::Text(error.to_string()))?;
    let client = match header.addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(pair) => Some(pair.source_address.into()),
        v1::Addresses::Tcp6(pair) => Some(pair.source_address.into()),
    };
    Ok(Header::Whole { bytes, client })
}

fn read_binary(bytes: &[u8]) -> Result<Header, BadHeader> {
    let Some(length) = bytes.get(14..16) else { return Ok(Header::Partial) };
    let whole = 16 + (usize::from(length[0]) << 8 | usize::from(length[1]));
    if whole > BINARY_BYTES_MAX {
        return Err(BadHeader::TooLong(BINARY_BYTES_MAX));
    }
    let Some(bytes) = bytes.get(..whole) else { return Ok(Header::Partial) };
    let wrong = |error: v2::ParseError| BadHeader::Binary(error.to_string());
    let header = v2::Header::try_from(bytes).map_err(wrong)?;
    header.tlvs().try_for_each(|field| field.map(drop)).map_err(wrong)?;
    let client = match (header.command, header.protocol, header.addresses) {
        (v2::Command::Proxy, v2::Protocol::Stream, v2::Addresses::IPv4(pair)) => Some(pair.source_address.into()),
        (v2::Command::Proxy, v2::Protocol::Stream, v2::Addresses::IPv6(pair)) => Some(pair.source_address.into()),
        // The balancer's own checks, unix sockets and datagrams: there is no client's address in it.
        _ => None,
    };
    Ok(Header::Whole { bytes: whole, client })
}

const TEXT_PREFIX: &[u8] = b"PROXY ";
/// By the protocol, the line's end included.
const TEXT_BYTES_MAX: usize = 107;
/// The protocol would let it be 64 KiB; with all fields that are in use it is below one.
pub(super) const BINARY_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn binary(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[0x20 | command, family], &length, payload].concat()
    }

    fn whole(bytes: &[u8]) -> Result<Option<IpAddr>, BadHeader> {
        match read(bytes)? {
            Header::Whole { bytes: taken, client } if taken == bytes.len() => Ok(client),
            other => panic!("{other:?}"),
        }
    }

    const V4: &[u8] = &[192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x34, 0, 80];

    fn v6() -> Vec<u8> {
        let address: std::net::Ipv6Addr = "2001:db8::7".parse().unwrap();
        [&address.octets()[..], &[0; 16], &[1, 2, 3, 4]].concat()
    }

    #[test]
    fn headers_say_whose_the_bytes_are() {
        let known = |text: &str| Some(text.parse().unwrap());
        for (bytes, client) in [
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n".to_vec(), known("192.0.2.1")),
            (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n".to_vec(), known("2001:db8::7")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (binary(1, 0x11, V4), known("192.0.2.1")),
            (binary(1, 0x21, &v6()), known("2001:db8::7")),
            (binary(1, 0x11, &[V4, &[0x04, 0, 2, 9, 9]].concat()), known("192.0.2.1")),
            (binary(0, 0x00, &[]), None),
            (binary(0, 0x11, V4), None),
            (binary(1, 0x12, V4), None),
            (binary(1, 0x31, &[b'x'; 216]), None),
            (binary(1, 0x00, &[1, 0, 1, 7]), None),
        ] {
            assert_eq!(whole(&bytes), Ok(client), "{bytes:?}");
            for end in 0..bytes.len() {
                assert_eq!(read(&bytes[..end]), Ok(Header::Partial), "{end} of {bytes:?}");
            }
            let more = [&bytes[..], b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(read(&more), Ok(Header::Whole { bytes: bytes.len(), client }));
        }
    }

    #[test]
    fn what_is_no_header_is_refused_at_once() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"\x16\x03\x01",
            b"PROXX",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 4660\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80 90\r\n",
            b"PROXY TCP4 192.0.2.256 10.0.0.1 1 2\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 70000 80\r\n",
            b"PROXY UDP4 192.0.2.1 10.0.0.1 1 2\r\n",
            b"PROXY\r\n",
            b"PROXY \r\n",
            long.as_bytes(),
            &binary(2, 0x11, V4),
            &binary(1, 0x51, V4),
            &binary(1, 0x11, &V4[..8]),
            &binary(1, 0x11, &[V4, &[0x04, 0, 9, 9]].concat()),
            &binary(1, 0x11, &[0; 5000]),
        ] {
            assert!(read(bytes).is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    proptest! {
        /// Fails when: any bytes can make the reading panic, or it asks for more than it ever takes.
        #[test]
        fn no_bytes_break_the_reading(bytes in proptest::collection::vec(any::<u8>(), 0..5000), kind in 0..3) {
            let bytes = match kind {
                0 => bytes,
                1 => [TEXT_PREFIX, &bytes].concat(),
                _ => [v2::PROTOCOL_PREFIX, &bytes].concat(),
            };
            match read(&bytes) {
                Ok(Header::Partial) => prop_assert!(bytes.len() < BINARY_BYTES_MAX),
                Ok(Header::Whole { bytes: taken, .. }) => prop_assert!(taken <= bytes.len()),
                Err(_) => {}
            }
        }
    }
}

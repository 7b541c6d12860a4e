//! A producer that writes its own bytes: what the client libraries refuse to write, and the broker takes (Produce v3,
//! record batch v2).

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use super::poison::Poison;
use crate::harness::PATIENCE;

/// How the records of a batch are packed. Nothing is made smaller; the formats are what matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    None = 0,
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    Zstd = 4,
    /// Says gzip and is none.
    Wrong = 9,
}

/// A connection to the one broker there is.
pub struct Producer(TcpStream);

impl Producer {
    pub fn connect(broker: &str) -> Self {
        let stream = TcpStream::connect(broker).expect("a broker");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// Writes a batch. The offset of its first record, or the broker's error.
    pub fn send(&mut self, topic: &str, partition: u32, records: &[Poison], codec: Codec) -> Result<u64, i16> {
        let batch = batch(records, codec);
        let mut body = Vec::new();
        body.extend([0, 0, 0, 3]); // Produce, version 3
        body.extend(1_i32.to_be_bytes());
        put_text(&mut body, "hostile");
        body.extend((-1_i16).to_be_bytes()); // no transaction
        body.extend((-1_i16).to_be_bytes()); // acks=all
        body.extend(30_000_i32.to_be_bytes());
        body.extend(1_i32.to_be_bytes());
        put_text(&mut body, topic);
        body.extend(1_i32.to_be_bytes());
        body.extend(partition.to_be_bytes());
        body.extend((batch.len() as i32).to_be_bytes());
        body.extend(batch);
        self.0.write_all(&(body.len() as i32).to_be_bytes()).expect("the broker reads");
        self.0.write_all(&body).expect("the broker reads");
        let mut length = [0; 4];
        self.0.read_exact(&mut length).expect("the broker answers");
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut answer).expect("the broker answers");
        // correlation id, one topic, one partition and its number come before
        let at = 4 + 4 + 2 + topic.len() + 4 + 4;
        let error = i16::from_be_bytes(answer[at..at + 2].try_into().unwrap());
        let offset = i64::from_be_bytes(answer[at + 2..at + 10].try_into().unwrap());
        if error == 0 { Ok(offset as u64) } else { Err(error) }
    }
}

fn put_text(body: &mut Vec<u8>, text: &str) {
    body.extend((text.len() as i16).to_be_bytes());
    body.extend(text.as_bytes());
}

fn batch(records: &[Poison], codec: Codec) -> Vec<u8> {
    let first = records.first().map_or(0, |record| record.at);
    let last = records.iter().map(|record| record.at).max().unwrap_or(0);
    let mut packed = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let mut bytes = vec![0];
        put_number(&mut bytes, record.at.wrapping_sub(first));
        put_number(&mut bytes, index as i64);
        put_piece(&mut bytes, record.key.as_deref());
        put_piece(&mut bytes, record.value.as_deref());
        put_number(&mut bytes, record.headers.len() as i64);
        for (name, value) in &record.headers {
            put_piece(&mut bytes, Some(name));
            put_piece(&mut bytes, value.as_deref());
        }
        put_number(&mut packed, bytes.len() as i64);
        packed.extend(bytes);
    }
    let mut tail = Vec::new();
    tail.extend((if codec == Codec::Wrong { Codec::Gzip } else { codec } as i16).to_be_bytes());
    tail.extend((records.len() as i32 - 1).to_be_bytes());
    tail.extend(first.to_be_bytes());
    tail.extend(last.to_be_bytes());
    tail.extend((-1_i64).to_be_bytes()); // no producer id, epoch, sequence
    tail.extend((-1_i16).to_be_bytes());
    tail.extend((-1_i32).to_be_bytes());
    tail.extend((records.len() as i32).to_be_bytes());
    tail.extend(pack(packed, codec));
    let mut batch = Vec::new();
    batch.extend(0_i64.to_be_bytes());
    batch.extend((tail.len() as i32 + 9).to_be_bytes());
    batch.extend((-1_i32).to_be_bytes());
    batch.push(2);
    batch.extend(crc(&CASTAGNOLI, &tail).to_be_bytes());
    batch.extend(tail);
    batch
}

fn put_piece(bytes: &mut Vec<u8>, piece: Option<&[u8]>) {
    put_number(bytes, piece.map_or(-1, |piece| piece.len() as i64));
    bytes.extend(piece.unwrap_or_default());
}

/// A signed number of any length, in zigzag.
fn put_number(bytes: &mut Vec<u8>, number: i64) {
    put_length(bytes, ((number << 1) ^ (number >> 63)) as u64);
}

fn put_length(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// The containers of the four codecs, with blocks that are stored as they are.
fn pack(plain: Vec<u8>, codec: Codec) -> Vec<u8> {
    let mut out = Vec::new();
    match codec {
        Codec::None | Codec::Wrong => return plain,
        Codec::Gzip => {
            out.extend([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]); // RFC 1952
            let mut blocks = plain.chunks(0xffff).peekable();
            while let Some(block) = blocks.next() {
                out.push(u8::from(blocks.peek().is_none()));
                out.extend((block.len() as u16).to_le_bytes());
                out.extend((!(block.len() as u16)).to_le_bytes());
                out.extend(block);
            }
            out.extend(crc(&IEEE, &plain).to_le_bytes());
            out.extend((plain.len() as u32).to_le_bytes());
        }
        Codec::Snappy => {
            out.extend(b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01"); // xerial's framing, as Java writes it
            for chunk in plain.chunks(32_768) {
                let mut block = Vec::new();
                put_length(&mut block, chunk.len() as u64);
                block.push(61 << 2); // a literal with a length of two bytes
                block.extend((chunk.len() as u16 - 1).to_le_bytes());
                block.extend(chunk);
                out.extend((block.len() as i32).to_be_bytes());
                out.extend(block);
            }
        }
        Codec::Lz4 => {
            out.extend([0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]); // blocks of 64 KiB, independent
            for block in plain.chunks(65_536) {
                out.extend((block.len() as u32 | 1 << 31).to_le_bytes());
                out.extend(block);
            }
            out.extend([0; 4]);
        }
        Codec::Zstd => {
            out.extend([0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3]); // a window of 128 KiB
            let mut blocks = plain.chunks(100_000).peekable();
            while let Some(block) = blocks.next() {
                let last = u32::from(blocks.peek().is_none());
                out.extend(&(((block.len() as u32) << 3) | last).to_le_bytes()[..3]);
                out.extend(block);
            }
        }
    }
    out
}

static CASTAGNOLI: [u32; 256] = table(0x82f6_3b78);
static IEEE: [u32; 256] = table(0xedb8_8320);

const fn table(polynomial: u32) -> [u32; 256] {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut value = n as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ polynomial } else { value >> 1 };
            bit += 1;
        }
        table[n] = value;
        n += 1;
    }
    table
}

fn crc(table: &[u32; 256], bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| table[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

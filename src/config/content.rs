//! The way in: bytes of a file, their hash, and what they mean.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{
    Problem, Problems, check, pieces, read,
    settings::Settings,
    source::{Source, Tree},
};

/// A configuration file's bytes, not yet understood.
#[derive(Clone, PartialEq, Eq)]
pub struct FileContent {
    /// As given on the command line; problems name it.
    pub path: PathBuf,
    pub bytes: Vec<u8>,
    /// 16 hexadecimal digits; the same bytes give the same hash in every version of this program.
    pub hash: String,
}

/// A configuration file that is right.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub settings: Settings,
    /// What is allowed but probably not meant; one line each, with file, line and key.
    pub warnings: Vec<String>,
    /// Of the text; equal to [`FileContent::hash`].
    pub hash: String,
    pub text: String,
    /// Each service was read by itself, so that it can be taken over into what is read next.
    pub(super) in_pieces: bool,
}

/// Reads and checks a configuration file. Blocks on the disk.
pub fn load(path: impl AsRef<Path>) -> Result<Loaded, Problems> {
    FileContent::of(path.as_ref())?.parse()
}

/// Checks the text of a configuration file. `path` names it in problems, and relative paths start at its directory;
/// nothing is read from the disk.
pub fn parse(text: &str, path: impl AsRef<Path>) -> Result<Loaded, Problems> {
    parse_after(text, path.as_ref(), None)
}

/// The same; services that are written as they are in `before`, which was read from the same path, are taken over from
/// there and cost next to nothing.
fn parse_after(text: &str, path: &Path, before: Option<&Loaded>) -> Result<Loaded, Problems> {
    let loaded = |settings, warnings, in_pieces| {
        let (hash, text) = (hash(text.as_bytes()), text.to_owned());
        Loaded { settings, warnings, hash, text, in_pieces }
    };
    // What has to be said about a file is said with all of it at hand.
    if let Some(settings) = pieces::read_pieces(text, path, before) {
        return Ok(loaded(settings, Vec::new(), true));
    }
    let tree = Tree::parse(path, text)?;
    let source = Source::new(path, text, &tree);
    let file = read::read(&tree, &source)?;
    let (settings, warnings) = check::check(&file, &source)?;
    let warnings = warnings.iter().map(Problem::to_string).collect();
    Ok(loaded(settings, warnings, false))
}

impl FileContent {
    /// Like [`FileContent::read`], with the failure in words for the operator.
    pub fn of(path: &Path) -> Result<Self, Problems> {
        Self::read(path).map_err(|error| unreadable(path, &error))
    }

    /// Reads the file's bytes. Blocks on the disk. Fails where the disk does, and on files larger than 4 MiB.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut bytes = Vec::new();
        File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 4 MiB"));
        }
        Ok(Self { path: path.to_owned(), hash: hash(&bytes), bytes })
    }

    /// Like [`FileContent::read`], for a file that is read again and again: anything but a regular file is refused,
    /// since a pipe would block for ever.
    pub(super) fn read_regular(path: &Path) -> io::Result<Self> {
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        Self::read(path)
    }

    /// Checks these very bytes, whatever the file has become since.
    pub fn parse(&self) -> Result<Loaded, Problems> {
        self.parse_after(None)
    }

    /// The same, at the price of what is not as it was in `before`, which was read from the same path.
    pub fn parse_after(&self, before: Option<&Loaded>) -> Result<Loaded, Problems> {
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => parse_after(text, &self.path, before),
            Err(error) => Err(not_utf8(&self.path, &self.bytes, error.valid_up_to())),
        }
    }
}

impl fmt::Debug for FileContent {
    /// Leaves the bytes out: they may be long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileContent({}, {} bytes, hash {})", self.path.display(), self.bytes.len(), self.hash)
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Problems {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "check the path after --config",
        io::ErrorKind::PermissionDenied => "let the user that runs verdigris read it",
        io::ErrorKind::IsADirectory => "name the file in it, such as config.toml",
        _ => "check the file and the disk it lies on",
    };
    Problems::from(Problem::of_file(path, format!("cannot read the configuration file: {error}"), hint))
}

fn not_utf8(path: &Path, bytes: &[u8], valid_up_to: usize) -> Problems {
    let line = 1 + bytes[..valid_up_to].iter().filter(|byte| **byte == b'\n').count();
    let message = format!("the file is not UTF-8 text; the first wrong byte is in line {line}");
    Problems::from(Problem::of_file(path, message, "save it as UTF-8"))
}

/// FNV-1a, 64 bits. It tells an edit from a save without one; it is no protection against a forger.
fn hash(bytes: &[u8]) -> String {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    format!("{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

const FILE_BYTES_MAX: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_same_in_every_version() {
        assert_eq!(hash(b""), "cbf29ce484222325");
        assert_eq!(hash(b"foobar"), "85944171f73967e8");
    }

    #[test]
    fn a_file_that_is_not_there_is_one_problem_with_advice() {
        let line = load("/nowhere/config.toml").unwrap_err().to_string();
        assert_eq!(
            line,
            "/nowhere/config.toml: cannot read the configuration file: No such file or directory (os error 2); \
             check the path after --config"
        );
    }

    #[test]
    fn bytes_that_are_not_text_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        fs::write(&path, b"version = 1\nname = \"\xff\"\n").unwrap();
        let line = load(&path).unwrap_err().to_string();
        assert!(line.contains("not UTF-8") && line.contains("in line 2"), "{line}");
    }

    #[test]
    fn a_huge_file_and_a_directory_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        File::create(&path).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("larger than 4 MiB"));
        assert!(load(directory.path()).unwrap_err().to_string().contains("name the file in it"));
    }
}

//! Embeddings against reference vectors, by cosine.

use super::{Failure, Node, Reader, View, path::Path, similar::cosine, vectors};

#[derive(Clone, Debug)]
pub(super) struct Embeddings {
    /// Where each vector is; `None` to look where servers put them.
    path: Option<Path>,
    data: Vec<Vec<f64>>,
    cosine: f64,
}

impl Embeddings {
    pub(super) fn read<'t>(reader: &mut Reader<'t>, node: &Node<'t>) -> Option<Self> {
        let fields = reader.object(node, &["path", "data", "cosine"])?;
        let path = match fields.find("path") {
            Some(path) => Some(Path::read(reader, path)?),
            None => None,
        };
        let (Some(data), Some(least)) = (fields.find("data"), fields.find("cosine")) else {
            reader.refuse(node, "`data` or `cosine` is missing", "give the reference vectors and the least cosine");
            return None;
        };
        let least = reader.number_in(least, -1.0, 1.0);
        let value = reader.value(data)?;
        let rows = vectors::plain(&value).and_then(|rows| match rows.iter().any(Vec::is_empty) || rows.is_empty() {
            true => Err("an empty vector".to_owned()),
            false => Ok(rows),
        });
        let data = reader.accept(data, rows, "write a vector of numbers, or a list of them")?;
        Some(Self { path, data, cosine: least? })
    }

    pub(super) fn judge(&self, view: &View<'_>, failures: &mut Vec<Failure>) {
        let failure =
            |check: &str, expected: String, found: String| Failure::new(format!("embeddings{check}"), expected, found);
        let found = match self.find(view) {
            Ok(found) => found,
            Err(reason) => return failures.push(failure("", "vectors".to_owned(), reason)),
        };
        if found.len() != self.data.len() {
            return failures.push(failure(".data", format!("{} vectors", self.data.len()), found.len().to_string()));
        }
        for (index, (wanted, found)) in self.data.iter().zip(&found).enumerate() {
            let place = format!("vector {index}");
            if wanted.len() != found.len() {
                failures
                    .push(failure(".data", format!("{} dimensions", wanted.len()), found.len().to_string()).at(place));
                continue;
            }
            let said = match cosine(wanted, found) {
                Ok(cosine) if cosine >= self.cosine - 1e-12 => continue,
                Ok(cosine) => format!("{cosine:.6}"),
                Err(reason) => reason.to_owned(),
            };
            failures.push(failure(".cosine", format!("at least {}", self.cosine), said).at(place));
        }
    }

    fn find(&self, view: &View<'_>) -> Result<Vec<Vec<f64>>, String> {
        let Some(path) = &self.path else { return vectors::vectors(view) };
        let mut all = Vec::new();
        for (_, value) in path.find(view.json()?)? {
            all.extend(vectors::plain(value)?);
        }
        Ok(all)
    }
}

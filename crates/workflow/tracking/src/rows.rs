//! Lists of placeholders, in a few fixed sizes so that the database keeps the prepared statements.

const SIZES: [usize; 4] = [1, 8, 64, 512];

/// `$3, $4` for two numbers from 3.
pub(crate) fn list(text: &mut String, first: usize, count: usize) {
    for number in first..first + count {
        if number > first {
            text.push_str(", ");
        }
        text.push('$');
        text.push_str(&number.to_string());
    }
}

/// `$1, $2, …` for each of `values`.
pub(crate) fn places(count: usize) -> String {
    let mut text = String::with_capacity(count * 6);
    list(&mut text, 1, count);
    text
}

/// `values` in pieces for an `IN` list: each piece is filled up to a fixed size with its last value, which changes
/// nothing about what is found.
pub(crate) fn pieces(values: &[i64]) -> impl Iterator<Item = Vec<i64>> {
    values.chunks(512).map(|chunk| {
        let mut piece = chunk.to_vec();
        let size = SIZES.into_iter().find(|size| *size >= piece.len()).unwrap_or(piece.len());
        if let Some(last) = chunk.last() {
            piece.resize(size, *last);
        }
        piece
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_count_on() {
        assert_eq!(places(3), "$1, $2, $3");
        let mut text = String::new();
        list(&mut text, 4, 2);
        assert_eq!(text, "$4, $5");
    }

    #[test]
    fn pieces_hold_everything_in_few_sizes() {
        let values: Vec<i64> = (0..520).collect();
        let found: Vec<Vec<i64>> = pieces(&values).collect();
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [512, 8]);
        let mut all: Vec<i64> = found.concat();
        all.dedup();
        assert_eq!(all, values);
        assert_eq!(pieces(&values[..9]).map(|piece| piece.len()).collect::<Vec<_>>(), [64]);
        assert_eq!(pieces(&[]).count(), 0);
    }
}

//! Many rows in one statement, in a few fixed sizes so that the database keeps the prepared statements.

const SIZES: [usize; 3] = [128, 16, 1];

/// `($1, $2), ($3, $4)` for two rows of two columns.
pub(crate) fn tuples(rows: usize, columns: usize) -> String {
    let mut text = String::with_capacity(rows * columns * 6);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        list(&mut text, row * columns + 1, columns);
        text.push(')');
    }
    text
}

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

/// `items` in slices of the fixed sizes, largest first.
pub(crate) fn slices<T>(items: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = items;
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().find(|size| *size <= rest.len())?;
        let (slice, after) = rest.split_at(size);
        rest = after;
        Some(slice)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_count_on_over_rows() {
        assert_eq!(tuples(2, 3), "($1, $2, $3), ($4, $5, $6)");
    }

    #[test]
    fn slices_cover_everything_in_order() {
        let items: Vec<usize> = (0..300).collect();
        let sizes: Vec<usize> = slices(&items).map(<[usize]>::len).collect();
        assert_eq!(sizes[..4], [128, 128, 16, 16]);
        assert_eq!(slices(&items).flatten().copied().collect::<Vec<_>>(), items);
        assert_eq!(slices::<u8>(&[]).count(), 0);
    }
}

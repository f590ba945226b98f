//! Which of the names that there are somebody may have meant.

/// How long a name may be for others to be looked for.
const LETTERS_MOST: usize = 64;

/// The known name that is nearest to what was said, where one is near enough to be meant.
pub(crate) fn meant<'a>(said: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = said.chars().count();
    if letters == 0 || letters > LETTERS_MOST {
        return None;
    }
    let said = said.to_lowercase();
    let far = (letters / 3).max(1);
    known
        .into_iter()
        .filter(|one| one.chars().count() <= LETTERS_MOST)
        .map(|one| (distance(&said, &one.to_lowercase()), one))
        .filter(|(distance, _)| *distance <= far)
        .min()
        .map(|(_, one)| one)
}

/// The same as help for a finding.
pub(crate) fn did_you_mean<'a>(
    said: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    meant(said, known).map(|one| format!("did you mean `{one}`?"))
}

/// How many letters are to be added, taken away, changed, or exchanged with the next one to make one of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut earlier: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=other.len()).collect();
    let mut before = None;
    for (at, letter) in one.chars().enumerate() {
        let mut left = at.saturating_add(1);
        let mut row = vec![left];
        let diagonal = above.iter().zip(above.iter().skip(1));
        for (place, (also, (corner, over))) in other.iter().zip(diagonal).enumerate() {
            let changed = corner.saturating_add(usize::from(*also != letter));
            left = changed.min(over.min(&left).saturating_add(1));
            // `ab` for `ba`.
            let last = place.checked_sub(1);
            let crossed = last.and_then(|last| other.get(last)) == Some(&letter);
            if crossed && before == Some(*also) {
                let corner = last.and_then(|last| earlier.get(last)).copied();
                left = left.min(corner.unwrap_or(usize::MAX).saturating_add(1));
            }
            row.push(left);
        }
        earlier = std::mem::replace(&mut above, row);
        before = Some(letter);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_meant_and_none_that_is_far() {
        let known = ["thread.read", "thread.post", "memory.read", "User"];
        let near = |said| meant(said, known);
        assert_eq!(near("thread.raed"), Some("thread.read"));
        assert_eq!(near("user"), Some("User"));
        assert_eq!(near("Usr"), Some("User"));
        assert_eq!(near("invoice"), None);
        assert_eq!(near(""), None);
        assert_eq!(near(&"x".repeat(10_000)), None);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("bne", "ben"), 1);
        assert_eq!(distance("abcd", "badc"), 2);
    }
}

//! Pages, by number. Clients go on while `current` is less than `next`, and die without either.

use serde::Serialize;

use super::envelope::Representation;

/// Objects on a page when the caller does not say, and at most.
const PER_PAGE: u64 = 30;
const MAX_PER_PAGE: u64 = 100;

/// Which page a caller asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    /// From 1 on.
    page: u64,
    per_page: u64,
}

/// Where a page stands, as answers say it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Pagination {
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<Option<u64>>,
    prev: Option<u64>,
    next: Option<u64>,
    current: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_page: Option<u64>,
    count: u64,
    pages: u64,
}

impl Asked {
    /// What cannot be meant counts as not said.
    pub(super) fn new(page: Option<u64>, per_page: Option<u64>) -> Self {
        let per_page = per_page.filter(|number| (1..=MAX_PER_PAGE).contains(number));
        Self {
            page: page.filter(|page| *page >= 1).unwrap_or(1),
            per_page: per_page.unwrap_or(PER_PAGE),
        }
    }

    /// How many objects come before the page.
    pub(super) fn skipped(self) -> u64 {
        (self.page - 1).saturating_mul(self.per_page)
    }

    /// How many objects are on the page, at most.
    pub(super) fn limit(self) -> usize {
        usize::try_from(self.per_page).unwrap_or(usize::MAX)
    }

    /// The page's part of a whole list.
    pub(super) fn of<T>(self, all: &[T]) -> &[T] {
        let start = usize::try_from(self.skipped()).unwrap_or(usize::MAX);
        let rest = all.get(start..).unwrap_or_default();
        rest.get(..self.limit()).unwrap_or(rest)
    }

    /// Where the page stands among `total` objects.
    pub(super) fn pagination(self, total: u64, representation: Representation) -> Pagination {
        let pages = total.div_ceil(self.per_page);
        // Who went too far is led back to the last page.
        let previous = Some((self.page - 1).min(pages)).filter(|page| *page > 0);
        let is_default = representation == Representation::Default;
        Pagination {
            previous: is_default.then_some(previous),
            prev: previous,
            next: (self.page < pages).then(|| self.page + 1),
            current: self.page,
            per_page: is_default.then_some(self.per_page),
            count: total,
            pages,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(asked: Asked, total: u64) -> (Option<u64>, Option<u64>) {
        let pagination = asked.pagination(total, Representation::Default);
        assert_eq!(pagination.previous, Some(pagination.prev));
        (pagination.prev, pagination.next)
    }

    #[test]
    fn pages_lead_to_each_other_until_the_end() {
        let page = |page| Asked::new(Some(page), None);
        assert_eq!(ends(page(1), 65), (None, Some(2)));
        assert_eq!(ends(page(2), 65), (Some(1), Some(3)));
        assert_eq!(ends(page(3), 65), (Some(2), None));
        assert_eq!(ends(page(9), 65), (Some(3), None));
        assert_eq!(ends(page(1), 0), (None, None));
        assert_eq!(ends(page(1), 30), (None, None));
        assert_eq!(page(3).of(&[0; 65]).len(), 5);
        assert_eq!(page(4).of(&[0; 65]).len(), 0);
    }

    #[test]
    fn what_cannot_be_meant_counts_as_not_said() {
        let first = Asked::new(None, None);
        for (page, per_page) in [(Some(0), None), (None, Some(0)), (Some(1), Some(101))] {
            assert_eq!(Asked::new(page, per_page), first);
        }
        let far = Asked::new(Some(u64::MAX), Some(100));
        assert!(far.of(&[0; 65]).is_empty());
        assert_eq!(ends(far, 65), (Some(1), None));
    }

    #[test]
    fn the_model_has_fewer_keys() {
        let pagination = Asked::new(None, None).pagination(1, Representation::Model);
        let text = serde_json::to_string(&pagination).unwrap_or_default();
        let expected = r#"{"prev":null,"next":null,"current":1,"count":1,"pages":1}"#;
        assert_eq!(text, expected);
    }
}

//! How many calls each user has under way. Users are those whom the app names; one without calls takes no memory.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use parking_lot::Mutex;

/// Calls under way, by user. Cloning gives another handle.
#[derive(Clone, Debug, Default)]
pub(super) struct Users(Arc<Mutex<HashMap<Arc<str>, u32>>>);

/// One call of a user, until dropped.
#[derive(Debug)]
pub struct Place {
    users: Users,
    user: Arc<str>,
}

impl Users {
    /// One call more for the user. `None` where there are as many as allowed.
    pub(super) fn enter(&self, user: &str, most: Option<NonZeroU32>) -> Option<Place> {
        let user: Arc<str> = user.into();
        let mut under_way = self.0.lock();
        let calls = under_way.get(&user).copied().unwrap_or_default();
        if most.is_some_and(|most| calls >= most.get()) {
            return None;
        }
        under_way.insert(Arc::clone(&user), calls + 1);
        drop(under_way);
        Some(Place { users: self.clone(), user })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = self.users.0.lock();
        match under_way.get_mut(&self.user) {
            Some(calls) if *calls > 1 => *calls -= 1,
            _ => drop(under_way.remove(&self.user)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_as_many_places_as_allowed_and_gets_them_back() {
        let users = Users::default();
        let two = NonZeroU32::new(2);
        let first = users.enter("one", two).unwrap();
        let second = users.enter("one", None).unwrap();
        assert!(users.enter("one", two).is_none());
        let other = users.enter("two", two).unwrap();
        drop(first);
        let third = users.enter("one", two).unwrap();
        assert!(users.enter("one", two).is_none());
        drop((second, third, other));
        assert!(users.0.lock().is_empty());
    }
}

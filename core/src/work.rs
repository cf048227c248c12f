//! Work of the core's own that takes longer than a turn may: to read a state of a million
//! jobs out of its bytes takes seconds. It is handed to the host, which does it beside the
//! turns and gives back what came of it. It is pure, so it does not matter who does it, or
//! when, or whether anybody does it twice; and a host cannot look into it.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::ids::WorkId;

/// What came of some work: whoever ordered it knows of what type it is.
type Product = Arc<dyn Any + Send + Sync>;

/// Something that can be done anywhere.
pub(crate) trait Errand: fmt::Debug + Send + Sync {
    /// Does it.
    fn run(&self) -> Product;
}

/// Something to be done beside the turns.
#[derive(Clone)]
pub struct Work {
    id: WorkId,
    errand: Arc<dyn Errand>,
}

impl Work {
    pub(crate) fn new(id: WorkId, errand: impl Errand + 'static) -> Work {
        Work {
            id,
            errand: Arc::new(errand),
        }
    }

    /// Does it: to be called on a thread that may take its time, once the turn is over.
    #[must_use]
    pub fn run(self) -> Done {
        Done {
            id: self.id,
            product: self.errand.run(),
        }
    }
}

impl PartialEq for Work {
    fn eq(&self, other: &Work) -> bool {
        self.id == other.id && Arc::ptr_eq(&self.errand, &other.errand)
    }
}

impl Eq for Work {}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.id, self.errand)
    }
}

/// Work that was done, with what came of it.
#[derive(Clone)]
pub struct Done {
    id: WorkId,
    product: Product,
}

impl Done {
    /// Which work.
    pub(crate) fn id(&self) -> WorkId {
        self.id
    }

    /// What came of it, if that is what it is.
    pub(crate) fn product<T: Any + Clone + Send + Sync>(self) -> Option<T> {
        let product = self.product.downcast::<T>().ok()?;
        // Nobody else has it, unless a host did it twice.
        Some(Arc::unwrap_or_clone(product))
    }
}

impl PartialEq for Done {
    fn eq(&self, other: &Done) -> bool {
        self.id == other.id && Arc::ptr_eq(&self.product, &other.product)
    }
}

impl Eq for Done {}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is done", self.id)
    }
}

//! GenerationCoordinator: the leader's matchmaker. Volatile: all it knows can
//! be lost, for the queue has what counts.

// Package deploylock keeps two runs that change the same cluster apart: a Lease in the
// namespace of sdn-tunnel, which says who holds it, what for and since when.
//
// The Lease is there while it is held, and deleted when it is released. Its holder renews
// it; one that was not renewed for its duration is of a run that is dead, and is taken over.
// Ages are told by the API server's clock alone, so operators' clocks may differ. A held
// lock is refused soon, with what there is to know of its holder; nobody queues for it.
//
// A holder relies on its lock for a little less than its duration since it last renewed it,
// by a clock that goes on while the machine sleeps. One that finds its lock lost stops
// (LostError): taken over, removed by somebody, or not renewed in time.
package deploylock

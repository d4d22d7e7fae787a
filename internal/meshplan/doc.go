// Package meshplan plans a whole mesh before anything is touched: from facts about
// every cluster and the operator's options to the objects that each cluster gets, and
// every conflict that stands in the way, all of them found in one pass. It is pure:
// package facts gathers, the deploy applies.
package meshplan

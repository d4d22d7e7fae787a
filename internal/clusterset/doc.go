// Package clusterset makes one service of a set of clusters out of the exports of its
// members, as the Multi-Cluster Services API says (KEP-1645): what the exports agree on
// is taken, of what they do not the oldest export decides, and each export that was not
// followed is told why.
//
// It computes only: who exports what is given, and what becomes of it is a ServiceImport
// that somebody else writes.
package clusterset

// Package pki makes the certificates and keys of a lab's clusters: one authority per
// cluster, and what it signs. Keys are ECDSA P-256 and live a year; nothing is ever
// renewed, because a lab does not live that long.
package pki

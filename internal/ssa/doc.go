// Package ssa compares what is to be declared with what an API server holds, and
// applies the difference by server-side apply.
//
// The comparison looks only at the fields that are declared, so that it is true also
// where the server fills in others, and works without the server: a dry run on an
// empty cluster is right as well. Nothing is sent where nothing differs.
package ssa

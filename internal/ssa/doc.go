// Package ssa compares what is to be declared with what an API server holds, and
// applies the difference by server-side apply.
//
// The comparison looks only at the fields that are declared, so that it is true also
// where the server fills in others, and works without the server: a dry run on an
// empty cluster is right as well. Fields that the owner declared earlier and no longer
// does are a difference, too, where the object was read with its managedFields.
// Nothing is sent where nothing differs.
package ssa

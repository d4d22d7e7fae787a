// Package verify shows whether a mesh works: it runs the test application on every
// node of every member, has every pod (and every node) ask every pod of the other
// members, and reports each pair. Of a pair that fails it names the first hop at fault
// as far as the objects and the agents know it.
//
// It removes everything that it made, also when it is cancelled, and changes nothing
// else: it repairs nothing and does not touch the mesh's own objects.
package verify

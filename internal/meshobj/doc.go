// Package meshobj reads API objects into a mesh.View. What it cannot read it refuses by
// name and leaves out; it judges nothing else: package mesh does.
package meshobj

// Package meshgraph draws a mesh out of its status: clusters and the links between them,
// coloured by health, as SVG, DOT or Mermaid. The same status gives the same picture.
//
// A link stands for all pairs of nodes of two clusters; of the pairs themselves only those
// that are not up are drawn, and only where nodes are shown. So ten clusters are 45 lines,
// whatever their size. It reads nothing and runs no layout program.
package meshgraph

package rollout

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/intstr"
)

// Batches cuts nodes, in their order, into batches of a size: a number, or a share of all
// nodes in percent, rounded up. With canary the first batch is one node.
func Batches(nodes []string, size string, canary bool) ([][]string, error) {
	value := intstr.Parse(size)
	n, err := intstr.GetScaledValueFromIntOrPercent(&value, len(nodes), true)
	if err != nil || n < 0 || n == 0 && len(nodes) > 0 {
		return nil, fmt.Errorf("batch %q: give a number of nodes of at least 1, or a share such as 25%%", size)
	}
	if len(nodes) == 0 {
		return nil, nil
	}
	if canary && n > 1 {
		rest := slices.Collect(slices.Chunk(nodes[1:], n))
		return append([][]string{nodes[:1]}, rest...), nil
	}
	return slices.Collect(slices.Chunk(nodes, n)), nil
}

package controller_test

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
)

// TestImportsAreFew: a member that exports more than its share of the service network gets
// no more than that, whatever is started anew, and what the own cluster exports has room.
func TestImportsAreFew(t *testing.T) {
	east, west := twoMembers(t)
	var own v1alpha1.LinkedCluster
	if err := east.Get(t.Context(), client.ObjectKey{Name: "east"}, &own); err != nil {
		t.Fatal(err)
	}
	own.Spec.ServiceCIDRs = []v1alpha1.CIDR{"172.30.0.0/28"} // a quarter is 4, half of that 2
	east.update(&own)
	east.api.Namespaces(t, demo)
	west.api.Namespaces(t, demo)
	stop := east.run()
	line := func(i int) string { return fmt.Sprintf("demo/web-%d ClusterSetIP http:80 west", i) }
	slice := func(i int) string { return fmt.Sprintf("sdn-tunnel web-%d of west", i) }
	export := func(i int) client.Object {
		west.service(demo, fmt.Sprintf("web-%d", i))
		return west.export(fmt.Sprintf("web-%d", i))
	}
	first := export(0)
	eventually(t, "the first", east.importing(line(0), slice(0)))
	export(1)
	eventually(t, "the second", east.importing(line(0), slice(0), line(1), slice(1)))
	export(2)
	const refused = "imports may have 4 of the addresses of this cluster's service networks, and those of one member 2"
	eventually(t, "the third is refused", east.condition("east", v1alpha1.ConditionServicesImported, metav1.ConditionFalse, refused))
	stop()
	time.Sleep(1100 * time.Millisecond) // exports' ages are in whole seconds
	export(3)
	stop = east.run()
	eventually(t, "so is the fourth", east.condition("east", v1alpha1.ConditionServicesImported, metav1.ConditionFalse, "west: demo/web-2; west: demo/web-3"))
	eventually(t, "the first two stay", east.importing(line(0), slice(0), line(1), slice(1)))
	east.service(demo, "own")
	east.export("own")
	const mine = "demo/own ClusterSetIP http:80 east"
	eventually(t, "the own cluster's", east.importing(line(0), slice(0), line(1), slice(1), mine))
	west.delete(first)
	eventually(t, "the oldest comes when one goes", east.importing(line(1), slice(1), line(2), slice(2), mine))
	own = v1alpha1.LinkedCluster{}
	if err := east.Get(t.Context(), client.ObjectKey{Name: "east"}, &own); err != nil {
		t.Fatal(err)
	}
	own.Spec.ServiceCIDRs = []v1alpha1.CIDR{"172.30.0.0/16"}
	east.update(&own)
	eventually(t, "there is more room", east.importing(line(1), slice(1), line(2), slice(2), line(3), slice(3), mine))
	eventually(t, "and nothing refused", east.condition("east", v1alpha1.ConditionServicesImported, metav1.ConditionTrue, ""))
	stop()
}

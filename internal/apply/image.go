package apply

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// pullPatience is how long a node may fail to pull an image. Registries and networks have
// hiccups: the kubelet tries three times meanwhile, at once and after 10 and 20 seconds more.
// What still fails then is mostly a name that no registry has, and a node without its agent.
const pullPatience = time.Minute

// imageReasons are why a container waits for its image, with how long it may.
var imageReasons = map[string]time.Duration{
	"InvalidImageName":          0,
	"ErrImageNeverPull":         0,
	"ImageInspectError":         0,
	"ErrImagePull":              pullPatience,
	reasonPullBackOff:           pullPatience,
	"RegistryUnavailable":       pullPatience,
	"SignatureValidationFailed": pullPatience,
}

// reasonPullBackOff is that of a pause between two tries. Older kubelets do not say then why
// the last one failed.
const reasonPullBackOff = "ImagePullBackOff"

// imageWaits remembers since when containers wait for their images, which no API says: a
// pod's start may be long before the first try, where a node pulls slowly.
type imageWaits struct {
	mu    sync.Mutex
	known map[containerKey]imageWait
}

type containerKey struct{ pod, container string }

type imageWait struct {
	since time.Time
	why   string
}

// hopeless is an error if a container of the pod has waited too long for its image; that one
// begins to wait is noted.
func (w *imageWaits) hopeless(pod *corev1.Pod, now time.Time, note func(string)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range containers(pod) {
		key := containerKey{string(pod.UID), s.Name}
		if s.State.Waiting == nil {
			delete(w.known, key)
			continue
		}
		reason, message := s.State.Waiting.Reason, strings.TrimSpace(s.State.Waiting.Message)
		patience, image := imageReasons[reason]
		if !image {
			continue
		}
		wait, known := w.known[key]
		if !known {
			wait.since = now
		}
		if reason != reasonPullBackOff || wait.why == "" {
			wait.why = message
		}
		if w.known == nil {
			w.known = map[containerKey]imageWait{}
		}
		w.known[key] = wait
		if waited := now.Sub(wait.since); waited >= patience {
			return noImage(pod, s.Name, reason, wait.why, waited)
		}
		if !known && note != nil {
			note(fmt.Sprintf("%v; it is given up if that lasts for %.0f s", noImage(pod, s.Name, reason, wait.why, 0), patience.Seconds()))
		}
	}
	return nil
}

func noImage(pod *corev1.Pod, container, reason, why string, waited time.Duration) error {
	if waited > 0 {
		reason += fmt.Sprintf(" for %.0f s", waited.Seconds())
	}
	return fmt.Errorf("node %s does not get the image %s for pod %s: %s: %s",
		cmp.Or(pod.Spec.NodeName, "(none)"), imageOf(pod, container), pod.Name, reason, cmp.Or(why, "the kubelet does not say why"))
}

// imageOf is the image as it was declared; a status may have what it was resolved to.
func imageOf(pod *corev1.Pod, container string) string {
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if c.Name == container {
			return c.Image
		}
	}
	return "of container " + container
}

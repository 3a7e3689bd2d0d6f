package recovery

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// TestFollowAfterRestore: what is known of a database that was put back to an
// earlier time is forgotten. The API server itself does not tell a watch that
// goes on.
func TestFollowAfterRestore(t *testing.T) {
	for _, restored := range []string{"7", "200"} { // the second has overtaken what was seen
		t.Run(restored, func(t *testing.T) { followAfterRestore(t, restored) })
	}
}

func followAfterRestore(t *testing.T, restored string) {
	var mu sync.Mutex
	version, node := "10", "before"
	watching, cut := make(chan struct{}, 10), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		q := r.URL.Query()
		switch {
		case q.Get("sendInitialEvents") != "":
			w.WriteHeader(http.StatusUnprocessableEntity) // an older API server
			_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Reason: metav1.StatusReasonInvalid, Code: 422})
		case q.Get("watch") == "":
			mu.Lock()
			defer mu.Unlock()
			_ = json.NewEncoder(w).Encode(corev1.NodeList{TypeMeta: metav1.TypeMeta{Kind: "NodeList", APIVersion: "v1"}, ListMeta: metav1.ListMeta{ResourceVersion: version},
				Items: []corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: node, ResourceVersion: version}}}})
		default:
			w.WriteHeader(http.StatusOK)
			// A watch that shows nothing is followed by a list anyway.
			mu.Lock()
			_ = json.NewEncoder(w).Encode(map[string]any{"type": "MODIFIED", "object": corev1.Node{
				TypeMeta: metav1.TypeMeta{Kind: "Node", APIVersion: "v1"}, ObjectMeta: metav1.ObjectMeta{Name: node, ResourceVersion: q.Get("resourceVersion") + "1"}}})
			mu.Unlock()
			w.(http.Flusher).Flush()
			watching <- struct{}{}
			select {
			case <-cut:
			case <-r.Context().Done():
			}
		}
	}))
	t.Cleanup(s.Close)
	c, err := newClient(&rest.Config{Host: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	store, done := cache.NewStore(cache.MetaNamespaceKeyFunc), make(chan struct{})
	go func() { defer close(done); c.WatchNodes(ctx, store) }()
	t.Cleanup(func() { cancel(); <-done })
	<-watching
	mu.Lock()
	version, node = restored, "restored"
	mu.Unlock()
	cut <- struct{}{}
	<-watching
	if got := store.ListKeys(); len(got) != 1 || got[0] != "restored" {
		t.Errorf("it knows %q", got)
	}
}

package agent

import (
	"cmp"
	"context"
	"crypto/sha256"
	"slices"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

var _ api.ImageProtocol = (*server)(nil)

// ImageOrders says what a node's images are to do: at once when there is something, else after its wait.
func (s *server) ImageOrders(ctx context.Context, req *api.ImagePollRequest) (*api.ImagePollResponse, error) {
	if err := s.sameCluster(req.ClusterID, "node "+req.NodeID); err != nil {
		return nil, err
	}
	if err := s.inTouch(); err != nil {
		return nil, err
	}
	timer := time.NewTimer(req.Wait)
	defer timer.Stop()
	for over := req.Wait == 0; ; {
		w := s.store.Watch(state.KeyImages(), state.KeyNodes())
		snap := s.store.Snapshot()
		if snap.Index() < req.Index {
			w.Stop()
			return nil, api.NewError(api.CodeBehind, "ask another server", "this server is at index %d, behind %d", snap.Index(), req.Index)
		}
		resp := imageOrders(snap, req)
		if over || resp.Report || len(resp.Announce)+len(resp.Drop)+len(resp.Fetch) > 0 {
			w.Stop()
			return resp, nil
		}
		select {
		case <-w.C():
		case <-timer.C:
			over = true
		case <-ctx.Done():
			w.Stop()
			return nil, ctx.Err()
		}
		w.Stop()
	}
}

// imageOrders compares what a node has with what the cluster believes and wants. An image that the cluster knows nothing of is not
// dropped: that takes a row that says so.
func imageOrders(snap *state.Snapshot, req *api.ImagePollRequest) *api.ImagePollResponse {
	resp := &api.ImagePollResponse{ClusterID: snap.ClusterID(), Index: snap.Index()}
	if snap.Node(req.NodeID) == nil {
		return resp // it registers first
	}
	for _, dgst := range req.Held {
		switch img := snap.Image(dgst); {
		case img == nil:
			if !slices.Contains(req.Busy, dgst) {
				resp.Announce = append(resp.Announce, dgst)
			}
		case img.Removed:
			resp.Drop = append(resp.Drop, dgst)
		}
	}
	for img := range snap.Images() {
		holds := slices.Contains(req.Held, img.Digest)
		switch {
		case mistaken(img, req.NodeID, holds):
			resp.Report = true
		case !holds && !img.Removed && !slices.Contains(req.Busy, img.Digest) && mustFetch(snap, img, req.NodeID):
			resp.Fetch = append(resp.Fetch, api.ImageOrder{Image: img, Holders: api.ImageHoldersOf(snap, img)})
		}
	}
	return resp
}

// mistaken reports whether the cluster believes something else of a node than it says, and can store it.
func mistaken(img *state.Image, nodeID string, holds bool) bool {
	if slices.Contains(img.Holders, nodeID) {
		return !holds
	}
	return holds && !img.Removed && len(img.Holders) < state.MaxImageHolders
}

// mustFetch reports whether a node is one of those that make up for missing copies of an image. Every server picks the same ones, and
// they stay the same while the first of them are at work: by a hash of the image and the node.
func mustFetch(snap *state.Snapshot, img *state.Image, nodeID string) bool {
	live := snap.LiveHolders(img)
	if len(live) == 0 || len(live) >= img.Copies {
		return false // nobody to fetch it from, or enough
	}
	var fit []*state.Node
	for n := range snap.Nodes() {
		if n.Status == state.NodeStatusReady && n.Eligibility == state.NodeEligible && api.KeepsImages(n) && !slices.Contains(img.Holders, n.ID) {
			fit = append(fit, n)
		}
	}
	rank := func(n *state.Node) string {
		sum := sha256.Sum256([]byte(img.Digest + n.ID))
		return string(sum[:])
	}
	slices.SortFunc(fit, func(a, b *state.Node) int { return cmp.Compare(rank(a), rank(b)) })
	chosen := fit[:min(len(fit), img.Copies-len(live))]
	return slices.ContainsFunc(chosen, func(n *state.Node) bool { return n.ID == nodeID })
}

// HoldImages stores which images a node has.
func (s *server) HoldImages(ctx context.Context, req *api.ImageHoldRequest) (*api.WriteResponse, error) {
	t, err := s.leading()
	if err != nil {
		return nil, err
	}
	if err := s.sameCluster(req.ClusterID, "node "+req.NodeID); err != nil {
		return nil, err
	}
	_, index, err := s.commit(ctx, state.HoldImages{NodeID: req.NodeID, Boot: req.Boot, Digests: req.Digests, Time: t.clock.Now()})
	if err != nil {
		return nil, err
	}
	return &api.WriteResponse{Index: index}, nil
}

// AnnounceImage stores an image that a node imported.
func (s *server) AnnounceImage(ctx context.Context, req *api.ImageAnnounceRequest) (*api.WriteResponse, error) {
	t, err := s.leading()
	if err != nil {
		return nil, err
	}
	if err := s.sameCluster(req.ClusterID, "node "+req.NodeID); err != nil {
		return nil, err
	}
	img := *req.Image
	img.Holders = []string{req.NodeID}
	_, index, err := s.commit(ctx, state.UpsertImage{RequestID: req.RequestID, Image: &img, Restored: req.Restored, Time: t.clock.Now()})
	if err != nil {
		return nil, err
	}
	return &api.WriteResponse{Index: index, RequestID: req.RequestID}, nil
}

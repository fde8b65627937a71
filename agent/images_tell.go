package agent

import (
	"context"
	"slices"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// announce brings back images that the cluster has forgotten.
func (k *images) announce(ctx context.Context, held []state.Image, digests []string) error {
	k.mu.Lock()
	imports := k.imports
	k.mu.Unlock()
	if imports > 0 && len(digests) > 0 {
		return pause(ctx, retryMin)
	}
	for i := range held {
		if !slices.Contains(digests, held[i].Digest) {
			continue
		}
		if _, err := k.tell(ctx, &held[i], true, api.NewRequestID()); err != nil {
			k.end(held[i].Digest, imageRest)
			k.log.Warn("cannot tell the servers of an image that they have forgotten", "digest", held[i].Digest, "error", err)
		}
	}
	return nil
}

// tell has the leader store an image that is here.
func (k *images) tell(ctx context.Context, img *state.Image, restored bool, requestID string) (index uint64, err error) {
	req := &api.ImageAnnounceRequest{NodeID: k.a.id.NodeID, ClusterID: k.a.clusterID(), RequestID: requestID, Image: img, Restored: restored}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err = k.a.peers.each(ctx, func(ctx context.Context, peer *api.Client) error {
		resp, err := peer.AnnounceImage(ctx, req)
		if err == nil {
			index = resp.Index
		}
		return err
	})
	return index, err
}

// report says which images are here: now, and not when orders were asked for. An image that was imported meanwhile would be taken for
// lost, and fetched once more than it was asked for.
func (k *images) report(ctx context.Context) error {
	held, err := k.store.HeldImages(ctx)
	if err != nil {
		return err
	}
	req := &api.ImageHoldRequest{NodeID: k.a.id.NodeID, ClusterID: k.a.clusterID(), Boot: k.a.boot()}
	for i := range held {
		req.Digests = append(req.Digests, held[i].Digest)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return k.a.peers.each(ctx, func(ctx context.Context, peer *api.Client) error {
		resp, err := peer.HoldImages(ctx, req)
		if err == nil {
			k.saw(resp.Index)
		}
		return err
	})
}

package api

import "reflect"

// Names of the routes of images.
const (
	routeImages       = "image.list"
	routeImage        = "image.read"
	routeImageImport  = "image.import"
	routeImageRemove  = "image.remove"
	routeImageResolve = "image.resolve"
	routeImageBlob    = "image.blob"
	routeProtoImages  = "node-protocol.images"
	routeProtoHold    = "node-protocol.images.hold"
	routeProtoImage   = "node-protocol.images.announce"
)

const (
	// maxImageBody bounds an archive.
	maxImageBody = 64 << 30
	// maxBlobReaders bounds how many other agents one agent serves parts of images at a time.
	maxBlobReaders = 16
)

func imageRoutes() []Route {
	return []Route{
		{
			Name: routeImages, Method: get, Path: "/v1/images", Capability: CapImageRead, Where: AtLeader,
			Stale: true, Blocking: true, List: true, handler: read(listImages, watchImages),
			Doc: "list the images that were imported into the cluster",
		},
		{
			Name: routeImageImport, Method: put, Path: "/v1/images", Capability: CapImageWrite, Where: AtNode,
			Stream: true, Concurrency: 2, MaxBody: maxImageBody, Query: []string{"name", "node", "source", "copies"},
			Media:   []string{"application/json"},
			handler: handler{stream: importImage, response: reflect.TypeFor[*ImageImportResponse]()},
			Doc:     "import an archive of images, as docker save or an OCI layout writes it",
		},
		{
			Name: routeImage, Method: get, Path: "/v1/image/{id}", Capability: CapImageRead, Where: AtLeader,
			Stale: true, handler: read(readImage, nil),
			Doc: "read an imported image by a name or its digest",
		},
		{
			Name: routeImageRemove, Method: del, Path: "/v1/image/{id}", Capability: CapImageWrite, Where: AtLeader,
			Write: true, Retry: true, Query: []string{"force"}, handler: answer(removeImage),
			Doc: "take a name from an image or, with its last name or by its digest, remove it",
		},
		{
			Name: routeImageResolve, Method: put, Path: "/v1/images/resolve", Capability: CapSubmitJob, Where: Here,
			Retry: true, Concurrency: 16, handler: take(resolveImages),
			Doc: "say which digests tags mean now, by the cluster's word or their registries'",
		},
		{
			Name: routeImageBlob, Method: get, Path: "/v1/node-protocol/images/blob/{id}", Capability: CapNode, Where: Here,
			Stream: true, Concurrency: maxBlobReaders, Media: []string{"application/octet-stream"}, handler: stream(readImageBlob),
			Doc: "read a part of an image that the agent asked holds, with Range from any byte on",
		},
		{
			Name: routeProtoImages, Method: put, Path: "/v1/node-protocol/images", Capability: CapNode, Where: AtLeader, Stale: true,
			Retry: true, Concurrency: 10_000, Timeout: 2 * MaxPollWait, handler: takePeer(protoImages),
			Doc: "answer what a node's images are to do",
		},
		{
			Name: routeProtoHold, Method: put, Path: "/v1/node-protocol/images/hold", Capability: CapNode, Where: AtLeader,
			Write: true, Retry: true, Concurrency: 1024, handler: takePeer(protoHold),
			Doc: "store which images a node has",
		},
		{
			Name: routeProtoImage, Method: put, Path: "/v1/node-protocol/images/announce", Capability: CapNode, Where: AtLeader,
			Write: true, Retry: true, handler: takePeer(protoAnnounceImage),
			Doc: "store an image that a node imported",
		},
	}
}

package api

// Names of the routes that look inside allocations and machines.
const (
	routeAllocExec    = "alloc.exec"
	routeAllocForward = "alloc.port-forward"
	routeAllocSignal  = "alloc.signal"
	routeAllocStats   = "alloc.stats"
	routeMachineStats = "client.allocations.stats"
	routeFilesList    = "alloc.fs.ls"
	routeFilesStat    = "alloc.fs.stat"
	routeFilesCat     = "alloc.fs.cat"
	routeFilesReadAt  = "alloc.fs.readat"
	routeFilesStream  = "alloc.fs.stream"
	routeFilesPack    = "alloc.fs.pack"
	routeFilesUnpack  = "alloc.fs.unpack"
)

// maxArchive bounds the archive that is unpacked in an allocation.
const maxArchive = 4 << 30

func insideRoutes() []Route {
	const at = "/v1/client/allocation/{id}/"
	return []Route{
		{
			Name: routeAllocExec, Method: get, Path: at + "exec", Capability: CapAllocExec, Where: AtOwner, Stream: true, Upgrade: true,
			Query: []string{"task", "command", "tty", "ws_handshake"}, handler: stream(execAlloc),
			Doc: "run a command inside a task, connected to a websocket",
		},
		{
			Name: routeAllocForward, Method: get, Path: at + "port-forward", Capability: CapAllocExec, Where: AtOwner, Stream: true, Upgrade: true,
			Query: []string{"port"}, Concurrency: maxForwardedPort, handler: stream(forwardPort),
			Doc: "connect a websocket to a port of an allocation",
		},
		{
			Name: routeAllocSignal, Method: put, Path: at + "signal", Capability: CapAllocLifecycle, Where: AtOwner, Write: true,
			handler: take(signalAlloc), Doc: "send a signal to the tasks of an allocation",
		},
		{
			Name: routeAllocStats, Method: get, Path: at + "stats", Capability: CapReadJob, Where: AtOwner, Concurrency: 64,
			handler: answer(allocStats), Doc: "read what the tasks of an allocation use",
		},
		{
			Name: routeMachineStats, Method: get, Path: "/v1/client/allocations/stats", Capability: CapNodeRead, Where: AtAgent,
			Concurrency: 32, handler: answer(machineStats), Doc: "read what each allocation of an agent's machine uses",
		},
	}
}

func fileRoutes() []Route {
	const at = "/v1/client/fs/"
	path := func(more ...string) []string { return append([]string{"path", "task"}, more...) }
	return []Route{
		{
			Name: routeFilesList, Method: get, Path: at + "ls/{id}", Capability: CapReadFS, Where: AtOwner, Query: path(),
			handler: answer(listFiles), Doc: "list a directory of an allocation",
		},
		{
			Name: routeFilesStat, Method: get, Path: at + "stat/{id}", Capability: CapReadFS, Where: AtOwner, Query: path(),
			handler: answer(statFile), Doc: "describe a file of an allocation",
		},
		{
			Name: routeFilesCat, Method: get, Path: at + "cat/{id}", Capability: CapReadFS, Where: AtOwner, Stream: true, Query: path(),
			Media: []string{"application/octet-stream"}, handler: stream(catFile), Doc: "read a file of an allocation",
		},
		{
			Name: routeFilesReadAt, Method: get, Path: at + "readat/{id}", Capability: CapReadFS, Where: AtOwner, Stream: true,
			Query: path("offset", "limit"), Media: []string{"application/octet-stream"}, handler: stream(readFileAt), Doc: "read a part of a file of an allocation",
		},
		{
			Name: routeFilesStream, Method: get, Path: at + "stream/{id}", Capability: CapReadFS, Where: AtOwner, Stream: true,
			Query: path("offset", "origin", "follow", "plain"), Media: []string{"application/json", "application/octet-stream"}, handler: stream(streamFile),
			Doc: "read a file of an allocation and, unless follow=false, what is added to it, in JSON frames or plain",
		},
		{
			Name: routeFilesPack, Method: get, Path: at + "archive/{id}", Capability: CapReadFS, Where: AtOwner, Stream: true,
			Query: path(), Concurrency: 16, Media: []string{"application/x-tar"}, handler: stream(packFiles), Doc: "read a file or a directory of an allocation as a tar archive",
		},
		{
			Name: routeFilesUnpack, Method: put, Path: at + "archive/{id}", Capability: CapAllocExec, Where: AtOwner, Stream: true,
			Query: path(), Concurrency: 16, MaxBody: maxArchive, Media: []string{"application/json"}, handler: stream(unpackFiles),
			Doc: "write the files of a tar archive below a directory of an allocation",
		},
	}
}

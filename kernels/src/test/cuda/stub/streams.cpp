// Streams, each with a thread that runs its work in order, events, captures and graphs.
#include <algorithm>

#include "enter.h"

namespace stub {

namespace {

void run_stream(CUstream stream) {
    State &s = state();
    Guard guard(s.lock);
    for (;;) {
        s.changed.wait(guard, [&] { return !stream->queue.empty() || stream->closing; });
        if (stream->queue.empty()) {
            break;
        }
        Work work = std::move(stream->queue.front());
        stream->queue.pop_front();
        stream->busy = true;
        guard.unlock();
        work();
        work = nullptr;
        guard.lock();
        stream->busy = false;
        s.changed.notify_all();
    }
    delete stream;
    s.draining--;
    s.changed.notify_all();
}

CUstream open_stream(State &s, CUcontext context) {
    auto *stream = new CUstream_st;
    stream->context = context;
    s.streams.insert(stream);
    std::thread(run_stream, stream).detach();
    return stream;
}

// What is recorded is known when it is recorded; where the context is lost nothing happens any more, and nobody may wait for ever.
bool has_happened(const CUevent_st &event, uint64_t ticket) { return event.happened >= ticket || event.context->sticky != 0; }

}  // namespace

CUstream find_stream(State &s, CUstream stream) {
    if (stream == nullptr) {
        if (current_context->default_stream == nullptr) {
            current_context->default_stream = open_stream(s, current_context);
        }
        return current_context->default_stream;
    }
    return s.streams.count(stream) != 0 ? stream : nullptr;
}

void close_stream(State &s, CUstream stream) {
    s.streams.erase(stream);
    s.draining++;
    stream->closing = true;
    if (stream->context->default_stream == stream) {
        stream->context->default_stream = nullptr;
    }
    s.changed.notify_all();
}

CUresult enqueue(State &s, CUstream stream, Work work) {
    if (stream->capture) {
        if (stream->capture_broken) {
            return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
        }
        stream->capture->nodes.push_back(std::move(work));
        return CUDA_SUCCESS;
    }
    stream->queue.push_back(std::move(work));
    s.changed.notify_all();
    return CUDA_SUCCESS;
}

bool breaks_capture(State &s) {
    bool any = false;
    for (CUstream stream : s.streams) {
        if (stream->capture && stream->capturer == std::this_thread::get_id()) {
            stream->capture_broken = true;
            any = true;
        }
    }
    return any;
}

void wait_idle(State &s, Guard &guard, CUstream stream) {
    s.changed.wait(guard, [&] { return s.streams.count(stream) == 0 || (stream->queue.empty() && !stream->busy); });
}

void wait_all(State &s, Guard &guard) {
    s.changed.wait(guard, [&] {
        return s.draining == 0
                && std::all_of(s.streams.begin(), s.streams.end(), [](CUstream stream) { return stream->queue.empty() && !stream->busy; });
    });
}

}  // namespace stub

using namespace stub;

CUresult cuCtxSynchronize() {
    ENTER();
    NOT_IN_CAPTURE();
    wait_all(s, guard);
    return current_context->sticky;
}

CUresult cuStreamCreate(CUstream *stream, unsigned) {
    ENTER();
    *stream = open_stream(s, current_context);
    s.counters.live_streams++;
    return CUDA_SUCCESS;
}

CUresult cuStreamDestroy_v2(CUstream stream) {
    ENTER();
    KNOWN(s.streams, stream);
    close_stream(s, stream);
    s.counters.live_streams--;
    return CUDA_SUCCESS;
}

CUresult cuStreamSynchronize(CUstream stream) {
    ENTER();
    STREAM(stream);
    NOT_IN_CAPTURE();
    wait_idle(s, guard, stream);
    return current_context->sticky;
}

CUresult cuStreamQuery(CUstream stream) {
    ENTER();
    STREAM(stream);
    if (stream->capture) {
        stream->capture_broken = true;
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    return stream->queue.empty() && !stream->busy ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

// In a capture, events would fork and join branches; a graph of this stub is one line, and says so.
CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
    ENTER();
    STREAM(stream);
    KNOWN(s.events, event);
    if (stream->capture) {
        stream->capture_broken = true;
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    uint64_t ticket = event->recorded;
    return enqueue(s, stream, [event, ticket] {
        State &st = state();
        Guard g(st.lock);
        st.changed.wait(g, [&] { return st.events.count(event) == 0 || has_happened(*event, ticket); });
    });
}

CUresult cuEventCreate(CUevent *event, unsigned flags) {
    ENTER();
    *event = new CUevent_st;
    (*event)->context = current_context;
    (*event)->timed = (flags & 2) == 0;
    s.events.insert(*event);
    s.counters.live_events++;
    return CUDA_SUCCESS;
}

// Not deleted: work that was enqueued may still name it.
CUresult cuEventDestroy_v2(CUevent event) {
    ENTER();
    KNOWN(s.events, event);
    s.events.erase(event);
    s.counters.live_events--;
    s.changed.notify_all();
    return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
    ENTER();
    STREAM(stream);
    KNOWN(s.events, event);
    if (stream->capture) {
        stream->capture_broken = true;
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    uint64_t ticket = ++event->recorded;
    return enqueue(s, stream, [event, ticket] {
        State &st = state();
        Guard g(st.lock);
        event->happened = ticket;
        event->when = std::chrono::steady_clock::now();
        st.changed.notify_all();
    });
}

CUresult cuEventQuery(CUevent event) {
    ENTER();
    KNOWN(s.events, event);
    return event->happened == event->recorded ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult cuEventSynchronize(CUevent event) {
    ENTER();
    KNOWN(s.events, event);
    NOT_IN_CAPTURE();
    uint64_t ticket = event->recorded;
    s.changed.wait(guard, [&] { return s.events.count(event) == 0 || has_happened(*event, ticket); });
    return current_context->sticky;
}

CUresult cuEventElapsedTime(float *millis, CUevent begin, CUevent end) {
    ENTER();
    KNOWN(s.events, begin);
    KNOWN(s.events, end);
    if (!begin->timed || !end->timed || begin->recorded == 0 || end->recorded == 0) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (begin->happened != begin->recorded || end->happened != end->recorded) {
        return CUDA_ERROR_NOT_READY;
    }
    *millis = std::chrono::duration<float, std::milli>(end->when - begin->when).count();
    return CUDA_SUCCESS;
}

CUresult cuStreamBeginCapture_v2(CUstream stream, int) {
    ENTER();
    if (stream == nullptr) {
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    KNOWN(s.streams, stream);
    if (stream->capture) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    stream->capture = std::make_unique<CUgraph_st>();
    stream->capturer = std::this_thread::get_id();
    stream->capture_broken = false;
    return CUDA_SUCCESS;
}

CUresult cuStreamEndCapture(CUstream stream, CUgraph *graph) {
    ENTER();
    KNOWN(s.streams, stream);
    *graph = nullptr;
    if (!stream->capture) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (stream->capturer != std::this_thread::get_id()) {
        return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
    }
    std::unique_ptr<CUgraph_st> captured = std::move(stream->capture);
    if (stream->capture_broken) {
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    *graph = captured.release();
    s.graphs.insert(*graph);
    s.counters.live_graphs++;
    return CUDA_SUCCESS;
}

CUresult cuGraphGetNodes(CUgraph graph, CUgraphNode *nodes, size_t *count) {
    ENTER();
    KNOWN(s.graphs, graph);
    if (nodes != nullptr) {
        return CUDA_ERROR_INVALID_VALUE;  // only the count is known here
    }
    *count = graph->nodes.size();
    return CUDA_SUCCESS;
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec *executable, CUgraph graph, unsigned long long) {
    ENTER();
    KNOWN(s.graphs, graph);
    *executable = new CUgraphExec_st{std::make_shared<const std::vector<Work>>(graph->nodes)};
    s.executables.insert(*executable);
    s.counters.live_graphs++;
    return CUDA_SUCCESS;
}

CUresult cuGraphDestroy(CUgraph graph) {
    ENTER();
    KNOWN(s.graphs, graph);
    s.graphs.erase(graph);
    s.counters.live_graphs--;
    delete graph;
    return CUDA_SUCCESS;
}

CUresult cuGraphUpload(CUgraphExec executable, CUstream stream) {
    ENTER();
    STREAM(stream);
    KNOWN(s.executables, executable);
    return CUDA_SUCCESS;
}

CUresult cuGraphLaunch(CUgraphExec executable, CUstream stream) {
    ENTER();
    STREAM(stream);
    KNOWN(s.executables, executable);
    if (stream->capture) {
        stream->capture_broken = true;
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    s.counters.graph_launches++;
    return enqueue(s, stream, [nodes = executable->nodes] {
        for (const Work &node : *nodes) {
            node();
        }
    });
}

CUresult cuGraphExecDestroy(CUgraphExec executable) {
    ENTER();
    KNOWN(s.executables, executable);
    s.executables.erase(executable);
    s.counters.live_graphs--;
    delete executable;
    return CUDA_SUCCESS;
}

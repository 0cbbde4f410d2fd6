#include "fiber.h"

#include <pthread.h>

#ifdef EMU_SWITCH_BY_HAND
asm(R"(
.text
.globl mr_emu_switch
.type mr_emu_switch, @function
mr_emu_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size mr_emu_switch, .-mr_emu_switch
)");
#endif

namespace emu {

void Fiber::prepare(void *stack, void (*entry)()) {
#ifdef EMU_ASAN
    // Frames of a fiber that was abandoned here have left their red zones behind.
    __asan_unpoison_memory_region(stack, stack_bytes);
#endif
    bottom_ = stack;
    size_ = stack_bytes;
    fake_stack_ = nullptr;
#ifdef EMU_SWITCH_BY_HAND
    // As if entry had been called from nowhere: the stack is 16-byte aligned before the (missing) return address.
    void **top = reinterpret_cast<void **>((reinterpret_cast<uintptr_t>(stack) + stack_bytes) & ~uintptr_t{63});
    *--top = nullptr;
    *--top = reinterpret_cast<void *>(entry);
    for (int saved = 0; saved < 6; saved++) {
        *--top = nullptr;
    }
    sp_ = top;
#else
    getcontext(&context_);
    context_.uc_stack.ss_sp = stack;
    context_.uc_stack.ss_size = stack_bytes;
    context_.uc_link = nullptr;
    makecontext(&context_, entry, 0);
#endif
}

void Fiber::adopt() {
    pthread_attr_t attributes;
    void *stack = nullptr;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        pthread_attr_getstack(&attributes, &stack, &size_);
        pthread_attr_destroy(&attributes);
    }
    bottom_ = stack;
}

}  // namespace emu

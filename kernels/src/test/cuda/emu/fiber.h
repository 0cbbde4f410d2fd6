// A fiber: a stack of its own and a switch by hand. On x86-64 a switch saves the six registers that a call preserves and costs some tens of
// nanoseconds; elsewhere, or with EMU_UCONTEXT, ucontext does the same with a system call. Floating-point control words are not switched:
// nobody changes them.
#pragma once
#include <cstddef>
#include <cstdint>

#if defined(__x86_64__) && !defined(EMU_UCONTEXT)
#define EMU_SWITCH_BY_HAND 1
#else
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#define EMU_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

extern "C" void mr_emu_switch(void **save, void *load);

namespace emu {

class Fiber {
  public:
#ifdef EMU_ASAN
    static constexpr size_t stack_bytes = 256 << 10;  // instrumented frames are larger
#else
    static constexpr size_t stack_bytes = 64 << 10;
#endif
    // The fiber will run entry() from its first instruction, which must never return. An abandoned fiber may be prepared anew.
    void prepare(void *stack, void (*entry)());
    // The stack that this OS thread runs on.
    void adopt();

    void switch_to(Fiber &to) {
#ifdef EMU_ASAN
        __sanitizer_start_switch_fiber(&fake_stack_, to.bottom_, to.size_);
#endif
#ifdef EMU_SWITCH_BY_HAND
        mr_emu_switch(&sp_, to.sp_);
#else
        swapcontext(&context_, &to.context_);
#endif
        arrived();
    }

    // To be called first thing by entry().
    void arrived() {
#ifdef EMU_ASAN
        __sanitizer_finish_switch_fiber(fake_stack_, nullptr, nullptr);
#endif
    }

  private:
#ifdef EMU_SWITCH_BY_HAND
    void *sp_ = nullptr;
#else
    ucontext_t context_;
#endif
    void *fake_stack_ = nullptr;
    const void *bottom_ = nullptr;
    size_t size_ = 0;
};

}  // namespace emu

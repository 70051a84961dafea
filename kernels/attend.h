// What dispatch.cpp knows of each build.
#pragma once
#include "eyeline_kernels.h"

#define EYELINE_DECLARE(name) \
  namespace name {            \
  int attend(const eyeline_call&); \
  int attend_backward(const eyeline_backward&); \
  int look(const eyeline_window&); \
  }
EYELINE_DECLARE(generic)
EYELINE_DECLARE(avx2)
EYELINE_DECLARE(avx512)
EYELINE_DECLARE(avx512bf16)
EYELINE_DECLARE(amx)
#undef EYELINE_DECLARE
